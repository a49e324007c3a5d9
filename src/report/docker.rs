//! The rows of `docker info`, as the last Docker with the devicemapper driver named and ordered them.

use std::path::Path;

use super::row::Row;
use crate::pool::status::{Known, Live, LoopFiles, State, Status};
use crate::units::{Bytes, DockerSize};

/// The rows. Those for files and loop files are there only where there is one; every other row is always there
/// (for a pool that exists), and where its value can't be known it says why, `unknown (pool not active)`: never
/// `0B`, which Docker showed then.
#[must_use]
pub fn docker_rows(status: &Status) -> Vec<Row> {
    if status.state == State::Absent {
        return vec![Row::new("Pool Name", status.pool.as_str())];
    }
    let mut rows = identity(status).to_vec();
    rows.extend(files(status));
    rows.extend(space(status));
    rows.extend(deferred(status));
    rows.push(Row::new("Library Version", status.host.library_version.clone()));
    rows
}

fn identity(status: &Status) -> [Row; 5] {
    let known = |value: fn(&Known) -> String| from_catalog(status, value);
    [
        Row::new(
            "Pool Name",
            status.known.as_ref().map_or_else(|| status.pool.to_string(), |k| k.dm_name.clone()),
        ),
        Row::new("Pool Blocksize", known(|k| size(k.block_size.bytes()))),
        Row::new("Base Device Size", known(|k| size(k.base_size))),
        Row::new("Backing Filesystem", known(|k| k.file_system.as_str().to_owned())),
        Row::new("Udev Sync Supported", status.host.udev_sync.to_string()),
    ]
}

fn files(status: &Status) -> Vec<Row> {
    let device = |of: fn(&Live) -> Option<&std::path::PathBuf>| {
        status.live.as_ref().and_then(of).map(|path| path.display().to_string())
    };
    let loops = status.known.as_ref().and_then(|known| known.loop_files.as_ref());
    let loop_file = |of: fn(&LoopFiles) -> &Path| loops.map(|files| of(files).display().to_string());
    [
        ("Data file", device(|live| live.data_device.as_ref())),
        ("Metadata file", device(|live| live.metadata_device.as_ref())),
        ("Data loop file", loop_file(|files| &files.data.path)),
        ("Metadata loop file", loop_file(|files| &files.metadata.path)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(Row::new(name, value?)))
    .collect()
}

fn space(status: &Status) -> [Row; 7] {
    let (data, metadata) = (status.data_space(), status.metadata_space());
    let or_unknown = |bytes: Option<Bytes>| bytes.map_or_else(|| no_figures(status), size);
    [
        Row::new("Data Space Used", or_unknown(data.map(|s| s.used))),
        Row::new("Data Space Total", or_unknown(data.map(|s| s.total))),
        Row::new("Data Space Available", or_unknown(data.map(|s| s.available))),
        Row::new("Metadata Space Used", or_unknown(metadata.map(|s| s.used))),
        Row::new("Metadata Space Total", or_unknown(metadata.map(|s| s.total))),
        Row::new("Metadata Space Available", or_unknown(metadata.map(|s| s.available))),
        Row::new("Thin Pool Minimum Free Space", or_unknown(status.minimum_free_space())),
    ]
}

fn deferred(status: &Status) -> [Row; 3] {
    let known = |value: fn(&Known) -> String| from_catalog(status, value);
    [
        Row::new("Deferred Removal Enabled", known(|k| k.deferred_removal.to_string())),
        Row::new("Deferred Deletion Enabled", known(|k| k.deferred_deletion.to_string())),
        Row::new("Deferred Deleted Device Count", known(|k| k.deferred_deleted.to_string())),
    ]
}

pub(super) fn size(bytes: Bytes) -> String {
    DockerSize(bytes).to_string()
}

/// A value of the catalog, or why there is none.
pub(super) fn from_catalog(status: &Status, value: impl FnOnce(&Known) -> String) -> String {
    let unknown = match status.state {
        State::HalfSetUp => "unknown (half set up)",
        State::Absent | State::Inactive | State::Active => "unknown (catalog not readable)",
    };
    status.known.as_ref().map_or_else(|| unknown.to_owned(), value)
}

/// Why there are no numbers of the kernel.
pub(super) fn no_figures(status: &Status) -> String {
    match (status.state, &status.live) {
        (State::HalfSetUp, _) => "unknown (half set up)",
        (State::Absent | State::Inactive, _) => "unknown (pool not active)",
        (State::Active, None) => "unknown (status not readable)",
        (State::Active, Some(live)) if live.figures.is_none() => "unknown (pool failed)",
        (State::Active, Some(_)) => "unknown (catalog not readable)",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::print_rows;
    use super::super::testing::{dockers_capture, inactive, looped};
    use super::*;

    #[test]
    fn a_listing_of_docker_20_10_comes_out_to_the_byte() {
        let expected = "\
Pool Name: docker-254:0-131115-pool
Pool Blocksize: 65.54kB
Base Device Size: 10.74GB
Backing Filesystem: xfs
Udev Sync Supported: true
Data file: /dev/vdc
Metadata file: /dev/vdd
Data Space Used: 72.88MB
Data Space Total: 8.59GB
Data Space Available: 8.517GB
Metadata Space Used: 17.41MB
Metadata Space Total: 8.59GB
Metadata Space Available: 8.573GB
Thin Pool Minimum Free Space: 859MB
Deferred Removal Enabled: true
Deferred Deletion Enabled: true
Deferred Deleted Device Count: 0
Library Version: 1.02.185 (2022-05-18)
";
        assert_eq!(print_rows(&docker_rows(&dockers_capture())), expected);
    }

    #[test]
    fn a_pool_on_loop_files_never_promises_more_room_than_its_host_has() {
        let expected = "\
Pool Name: thinpool-pool
Pool Blocksize: 65.54kB
Base Device Size: 10.74GB
Backing Filesystem: ext4
Udev Sync Supported: true
Data file: /dev/loop0
Metadata file: /dev/loop1
Data loop file: /var/lib/thinpool/thinpool/data
Metadata loop file: /var/lib/thinpool/thinpool/metadata
Data Space Used: 2.357GB
Data Space Total: 107.4GB
Data Space Available: 33.91GB
Metadata Space Used: 2.413MB
Metadata Space Total: 2.147GB
Metadata Space Available: 2.145GB
Thin Pool Minimum Free Space: 10.74GB
Deferred Removal Enabled: true
Deferred Deletion Enabled: true
Deferred Deleted Device Count: 1
Library Version: 1.02.185 (2022-05-18)
";
        assert_eq!(print_rows(&docker_rows(&looped())), expected);
    }

    #[test]
    fn an_inactive_pool_shows_no_number_that_nobody_read() {
        let text = print_rows(&docker_rows(&inactive()));
        assert!(text.contains("Data Space Used: unknown (pool not active)\n"), "{text}");
        assert!(text.contains("Base Device Size: 10.74GB\n"), "{text}");
        assert!(text.contains("Data loop file: /var/lib/thinpool/thinpool/data\n"), "{text}");
        assert!(!text.contains("Data file") && !text.contains("0B\n"), "{text}");
    }
}
