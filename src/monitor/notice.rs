//! An event as it is told to programs.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Event;
use crate::backing::Part;
use crate::dm::{Blocks, PoolUsage};
use crate::units::{BlockSize, Bytes, DataBlocks, MetaBlocks, PoolName};

/// What is told of an event, as JSON. docs/json.md explains each key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    version: u32,
    event: Kind,
    reason: &'static str,
    pool: PoolName,
    /// In seconds since 1970.
    at: u64,
    message: String,
    grown: Option<GrownPart>,
    data: Option<Filled>,
    metadata: Option<Filled>,
}

/// What an event is to whoever has to act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Somebody should do something soon.
    Warn,
    /// The pool has grown.
    Extend,
    /// Data or metadata have run out.
    Full,
    /// The metadata must be checked before anything is written again.
    NeedsCheck,
    /// The pool can't be written, or not even read.
    Failed,
    /// What was told of before is over.
    Recovered,
    /// Nothing has happened: somebody tries out what is told.
    Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct GrownPart {
    part: Part,
    from: Bytes,
    to: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Filled {
    used: Bytes,
    total: Bytes,
}

impl Kind {
    /// The word in the JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Extend => "extend",
            Self::Full => "full",
            Self::NeedsCheck => "needs-check",
            Self::Failed => "failed",
            Self::Recovered => "recovered",
            Self::Test => "test",
        }
    }
}

impl Notice {
    /// Of an event that was seen just now, with what the kernel said of the pool.
    #[must_use]
    pub fn of(event: &Event, pool: &PoolName, usage: Option<&PoolUsage>, block_size: BlockSize) -> Self {
        let grown = match event {
            Event::Grown { part, step } => Some(GrownPart { part: *part, from: step.from, to: step.to }),
            _ => None,
        };
        Self {
            grown,
            data: usage.map(|usage| Filled::data(usage.data, block_size)),
            metadata: usage.map(|usage| Filled::metadata(usage.metadata)),
            ..Self::new(event.kind(), event.reason(), pool, event.sentence(pool))
        }
    }

    /// For somebody who wants to see what comes of it.
    #[must_use]
    pub fn test(pool: &PoolName) -> Self {
        Self::new(Kind::Test, "test", pool, "nothing has happened: this is a test of the hooks".to_owned())
    }

    fn new(event: Kind, reason: &'static str, pool: &PoolName, message: String) -> Self {
        // A clock before 1970 is a broken clock: it counts as 1970.
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let pool = pool.clone();
        Self { version: 1, event, reason, pool, at, message, grown: None, data: None, metadata: None }
    }

    /// What it is to whoever has to act on it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.event
    }

    /// The pool that it is of.
    #[must_use]
    pub fn pool(&self) -> &PoolName {
        &self.pool
    }
}

impl Filled {
    fn data(blocks: Blocks<DataBlocks>, size: BlockSize) -> Self {
        Self { used: blocks.used.bytes(size), total: blocks.total.bytes(size) }
    }

    fn metadata(blocks: Blocks<MetaBlocks>) -> Self {
        Self { used: blocks.used.bytes(), total: blocks.total.bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::status::Problem;

    #[test]
    fn a_program_is_told_what_people_are_told_with_the_numbers() {
        let pool = "ci".parse().expect("a name");
        let event = Event::Trouble(Problem::OutOfDataSpace);
        let notice = Notice::of(&event, &pool, None, BlockSize::DEFAULT);
        let value = serde_json::to_value(&notice).expect("serialises");
        assert_eq!(
            (&value["event"], &value["reason"], &value["pool"], &value["version"]),
            (&"full".into(), &"out_of_data_space".into(), &"ci".into(), &1.into())
        );
        assert_eq!(value["message"], Problem::OutOfDataSpace.sentence(&pool));
        let docs = include_str!("../../docs/json.md");
        for key in value.as_object().expect("an object").keys() {
            assert!(docs.contains(&format!("| `{key}` |")), "{key} is not in docs/json.md");
        }
    }

    #[test]
    fn every_kind_is_called_the_same_in_the_json_the_variable_and_the_documentation() {
        let docs = include_str!("../../docs/monitor.md");
        let kinds = [
            Kind::Warn,
            Kind::Extend,
            Kind::Full,
            Kind::NeedsCheck,
            Kind::Failed,
            Kind::Recovered,
            Kind::Test,
        ];
        for kind in kinds {
            assert_eq!(serde_json::to_value(kind).expect("serialises"), kind.as_str());
            assert!(docs.contains(&format!("| `{}` |", kind.as_str())), "{kind:?}");
        }
    }
}
