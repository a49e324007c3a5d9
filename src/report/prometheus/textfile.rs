//! The metrics as a file for node_exporter's textfile collector.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::prometheus;
use crate::files;
use crate::pool::status::Status;

/// Why the metrics are not in the file.
#[derive(Debug, Error)]
pub enum TextfileError {
    /// Nobody would read it.
    #[error(
        "the metrics were not written: node_exporter reads only files whose names end in .prom, and {} doesn't",
        .0.display()
    )]
    Name(PathBuf),
    /// There is no place for it.
    #[error(
        "the metrics were not written: there is no directory {}. Name the one that node_exporter was given as \
         --collector.textfile.directory (Debian's is /var/lib/prometheus/node-exporter), or make it",
        .0.display()
    )]
    NoDirectory(PathBuf),
    /// It couldn't be written.
    #[error("the metrics were not written to {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes the metrics of these pools to a file that anybody may read, as a whole: the collector sees the old ones or the
/// new ones, never half of them.
pub fn write_textfile(path: &Path, statuses: &[Status]) -> Result<(), TextfileError> {
    if path.extension().is_none_or(|extension| extension != "prom") {
        return Err(TextfileError::Name(path.to_owned()));
    }
    let directory = files::directory_of(path);
    if !directory.is_dir() {
        return Err(TextfileError::NoDirectory(directory.to_owned()));
    }
    files::put(path, &prometheus(statuses))
        .map_err(|source| TextfileError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::super::testing::{inactive, looped};
    use super::*;

    #[test]
    fn the_collector_can_read_the_file_and_finds_no_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("thinpool.prom");
        for status in [looped(), inactive()] {
            let statuses = [status];
            write_textfile(&path, &statuses).expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), prometheus(&statuses));
            assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o644);
        }
        assert_eq!(directory.path().read_dir().expect("listed").count(), 1);
    }

    #[test]
    fn a_file_that_nobody_would_read_is_refused_and_so_is_a_directory_that_is_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let refused = |name: &str| {
            write_textfile(&directory.path().join(name), &[looped()]).expect_err("refused").to_string()
        };
        assert!(refused("thinpool.txt").contains(".prom"));
        assert!(refused("none/thinpool.prom").contains("--collector.textfile.directory"));
        assert_eq!(directory.path().read_dir().expect("listed").count(), 0);
    }
}
