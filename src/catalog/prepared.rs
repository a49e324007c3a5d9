//! Queries that are read once.
//!
//! SQLite takes longer to understand most of ours than to carry them out, and who keeps a pool open asks the same ones again:
//! they are kept as they were understood.

use rusqlite::{Connection, Params, Row};

/// How many are kept: more than there are, with room for those that are put together.
pub(super) const MOST: usize = 100;

/// A connection, or a transaction on it, that keeps what it is asked.
pub(super) trait Prepared {
    /// The first row that answers a query; [`rusqlite::Error::QueryReturnedNoRows`] where there is none.
    fn ask<T>(
        &self,
        query: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, rusqlite::Error>;

    /// Makes a change, and says how many rows were changed.
    fn tell(&self, change: &str, values: impl Params) -> Result<usize, rusqlite::Error>;
}

impl Prepared for Connection {
    fn ask<T>(
        &self,
        query: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, rusqlite::Error> {
        self.prepare_cached(query)?.query_row(values, read)
    }

    fn tell(&self, change: &str, values: impl Params) -> Result<usize, rusqlite::Error> {
        self.prepare_cached(change)?.execute(values)
    }
}
