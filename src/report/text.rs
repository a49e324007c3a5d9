//! The default text: Docker's rows, then what Docker never showed.

use std::time::Duration;

use super::docker::{docker_rows, from_catalog, no_figures, size};
use super::row::{Row, print_rows};
use crate::catalog::MetadataCheck;
use crate::dm::NoSpacePolicy;
use crate::pool::Trend;
use crate::pool::status::{
    DeviceCounts, Fate, KnownDevice, LiesOn, LoopFile, Problem, SpareDisk, State, Status, Waiting,
};
use crate::thin_tools::{Depth, Outcome};
use crate::units::{Bytes, Rate, span};

/// The whole text of `thinpool status`.
#[must_use]
pub fn text(status: &Status) -> String {
    print_rows(&text_rows(status))
}

/// The rows of the text: those of Docker, ours, the health in one word, and a line for each problem.
#[must_use]
pub fn text_rows(status: &Status) -> Vec<Row> {
    let mut rows = docker_rows(status);
    rows.push(Row::new("Pool State", status.state.as_str()));
    if status.state != State::Absent {
        rows.extend(ours(status));
    }
    rows.push(Row::new("Health", status.verdict().as_str()));
    // That it lies on loop files was said at setup, and the rows show it; once is enough.
    let told = status.problems.iter().filter(|problem| **problem != Problem::Loopback);
    rows.extend(told.map(|p| Row::new(p.severity().as_str(), p.sentence(&status.pool))));
    rows
}

fn ours(status: &Status) -> Vec<Row> {
    let mut rows = vec![
        Row::new("Pool Mode", mode(status)),
        Row::new("Transaction Id", from_catalog(status, |known| known.transaction_id.to_string())),
        Row::new("Devices", from_catalog(status, |known| devices(known.devices))),
        Row::new("Low Water Mark", low_water(status)),
    ];
    if let Some(live) = &status.live {
        rows.extend(live.figures.as_ref().map(|figures| Row::new("When Full", when_full(figures.no_space))));
        rows.extend(live.trend.map(|trend| Row::new("Time Until Full", until_full(status, trend))));
        rows.push(Row::new("Monitor", if live.monitored { "running" } else { "not running" }));
    }
    if let Some(known) = status.known.as_ref().filter(|known| !known.waiting.is_empty()) {
        rows.push(Row::new(
            "Waiting Devices",
            known.waiting.iter().map(waiting).collect::<Vec<_>>().join(", "),
        ));
    }
    if let Some(check) = status.known.as_ref().and_then(|known| known.metadata_check.as_ref()) {
        rows.push(Row::new("Metadata Check", metadata_check(check)));
    }
    // Loop files have a row of their own.
    if let Some(on) = status.known.as_ref().and_then(|known| lies_on(&known.lies_on)) {
        rows.push(Row::new("Lies On", on));
    }
    if let Some(files) = status.known.as_ref().and_then(|known| known.loop_files.as_ref()) {
        let value = format!("data {}, metadata {}", loop_file(&files.data), loop_file(&files.metadata));
        rows.push(Row::new("Loop Files", value));
    }
    rows
}

fn waiting(device: &Waiting) -> String {
    let fate = match device.to_be {
        Fate::Removed => "to be removed",
        Fate::Deleted => "to be deleted",
    };
    let times = if device.open_count == 1 { "time" } else { "times" };
    format!("{} ({fate}, open {} {times})", device.device, device.open_count)
}

fn mode(status: &Status) -> String {
    let Some(live) = &status.live else { return no_figures(status) };
    let needs_check = live.figures.as_ref().is_some_and(|figures| figures.needs_check);
    format!("{}{}", live.mode.as_str(), if needs_check { ", needs check" } else { "" })
}

fn devices(counts: DeviceCounts) -> String {
    let some = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    // There is one base, so its plural is never needed.
    format!(
        "{} base, {}, {}",
        counts.base,
        some(counts.images, "image"),
        some(counts.containers, "container")
    )
}

fn low_water(status: &Status) -> String {
    match (&status.known, status.figures()) {
        (Some(known), Some(figures)) => size(figures.low_water.bytes(known.block_size)),
        _ => no_figures(status),
    }
}

/// `data 3 d (1.2MB/s), metadata not filling; as in the last 59 min`.
fn until_full(status: &Status, trend: Trend) -> String {
    let told = |time: Option<Duration>, rate: Rate| match time {
        Some(time) => format!("{} ({rate})", span(time)),
        None => "not filling".to_owned(),
    };
    let data = told(status.time_until_full(), trend.data);
    let metadata = told(status.time_until_metadata_full(), trend.metadata);
    format!("data {data}, metadata {metadata}; as in the last {}", span(trend.over))
}

fn when_full(policy: NoSpacePolicy) -> &'static str {
    match policy {
        NoSpacePolicy::Queue => "writes wait (queue)",
        NoSpacePolicy::Error => "writes fail (error)",
    }
}

/// What a check of the metadata came to, in a few words.
#[must_use]
pub fn metadata_check(check: &MetadataCheck) -> String {
    let depth = match check.checked.depth {
        Depth::Quick => "quick",
        Depth::Full => "full",
    };
    let outcome = match &check.checked.outcome {
        Outcome::Sound => "sound",
        Outcome::Leaks => "sound but for leaked blocks",
        Outcome::Damaged { .. } => "damaged",
        Outcome::Unfinished { .. } => "not finished",
        Outcome::NoTool | Outcome::Skipped => "not done",
    };
    let after = if check.clean { "a clean shutdown" } else { "an unclean one" };
    format!("{outcome} ({depth}, after {after}, {:.1} s)", check.checked.took.as_secs_f32())
}

/// What a pool lies on, in a few words; none for loop files, which have a row of their own.
#[must_use]
pub fn lies_on(what: &LiesOn) -> Option<String> {
    match what {
        LiesOn::LoopFiles => None,
        LiesOn::ThinPool { name } => Some(format!("the thin pool {name}, made by somebody else")),
        LiesOn::BlockDevices { data, metadata, volume_group, metadata_spare, data_spare } => {
            let parts = [
                Some(format!("data {}", known_device(data.as_ref()))),
                Some(format!("metadata {}", known_device(metadata.as_ref()))),
                volume_group.as_ref().map(|group| format!("volume group {group}")),
                metadata_spare.as_ref().map(|volume| format!("spare for metadata {volume}")),
                data_spare.as_ref().map(spare_disk),
            ];
            Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
        }
    }
}

fn spare_disk(disk: &SpareDisk) -> String {
    format!("spare disk {}{}", disk.name.display(), if disk.taken { " (taken)" } else { "" })
}

fn known_device(device: Option<&KnownDevice>) -> String {
    device.map_or_else(|| "not made yet".to_owned(), |device| device.name.display().to_string())
}

fn loop_file(file: &LoopFile) -> String {
    let or_unknown = |bytes: Option<Bytes>| bytes.map_or_else(|| "unknown".to_owned(), size);
    format!("{} ({} allocated)", or_unknown(file.size), or_unknown(file.allocated))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{absent, every_status, half_set_up, inactive, looped, with_figures};
    use super::*;
    use crate::pool::status::{Mode, Problem, Verdict};
    use crate::units::{DataBlocks, MetaBlocks, TransactionId};

    /// The text after Docker's rows.
    fn ours_of(status: &Status) -> String {
        let text = text(status);
        let start = text.find("Pool State: ").expect("a row");
        text[start..].to_owned()
    }

    #[test]
    fn an_active_pool_in_full() {
        assert_eq!(
            ours_of(&looped()),
            "\
Pool State: active
Pool Mode: read-write
Transaction Id: 7
Devices: 1 base, 3 images, 1 container
Low Water Mark: 5.369GB
When Full: writes wait (queue)
Time Until Full: data 8 h 58 min (1.049MB/s), metadata 24 d (1.024kB/s); as in the last 59 min
Monitor: running
Waiting Devices: thinpool-web1 (to be deleted, open 1 time)
Metadata Check: sound (quick, after a clean shutdown, 0.1 s)
Loop Files: data 107.4GB (2.36GB allocated), metadata 2.147GB (2.5MB allocated)
Health: healthy
Note: The pool may still grow by 105GB, but the file system under /var/lib/thinpool/thinpool/data has 33.91GB \
left: that is what counts.
"
        );
    }

    #[test]
    fn what_a_pool_has_in_reserve_is_shown_with_what_it_lies_on() {
        let text = text(&super::super::testing::dockers_capture());
        let row = "Lies On: data /dev/vdc, metadata /dev/vdd, volume group direct-lvm, \
                   spare for metadata direct-lvm/metadata-spare, spare disk /dev/vde (taken)\n";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn a_pool_that_does_not_fill_has_no_time_until_it_is_full() {
        let mut status = looped();
        let trend = status.live.as_mut().and_then(|live| live.trend.as_mut()).expect("a trend");
        trend.data = Rate::between(Bytes(9), Bytes(1), Duration::from_secs(1)).expect("a rate");
        let text = text(&status);
        assert!(text.contains("Time Until Full: data not filling, metadata 24 d"), "{text}");
    }

    #[test]
    fn an_inactive_pool_in_full() {
        assert_eq!(
            ours_of(&inactive()),
            "\
Pool State: inactive
Pool Mode: unknown (pool not active)
Transaction Id: 7
Devices: 1 base, 3 images, 1 container
Low Water Mark: unknown (pool not active)
Waiting Devices: thinpool-web1 (to be deleted, open 1 time)
Metadata Check: sound (quick, after a clean shutdown, 0.1 s)
Loop Files: data 107.4GB (2.36GB allocated), metadata 2.147GB (2.5MB allocated)
Health: not active
Warning: The pool is set up but not active. `thinpool activate` starts it.
"
        );
    }

    #[test]
    fn an_absent_pool_in_full() {
        assert_eq!(
            text(&absent()),
            "Pool Name: ci\nPool State: absent\nHealth: absent\n\
             Note: There is no pool ci. `thinpool --pool ci setup` makes one.\n"
        );
    }

    #[test]
    fn a_half_made_pool_in_full() {
        assert_eq!(
            ours_of(&half_set_up()),
            "\
Pool State: half set up
Pool Mode: unknown (half set up)
Transaction Id: unknown (half set up)
Devices: unknown (half set up)
Low Water Mark: unknown (half set up)
Health: failed
Critical: A setup or a destroy of this pool is at work, or was interrupted. Run `thinpool setup` to have a pool, or \
`thinpool destroy` to have none.
"
        );
    }

    #[test]
    fn an_unsafe_pool_is_never_called_healthy() {
        type Change = fn(&mut Status);
        let cases: [(Change, &str, Verdict); 13] = [
            (|s| mode_is(s, Mode::OutOfDataSpace), "out_of_data_space", Verdict::Failed),
            (|s| mode_is(s, Mode::ReadOnly), "read_only", Verdict::Failed),
            (|s| mode_is(s, Mode::Fail), "failed", Verdict::Failed),
            (|s| mode_is(s, Mode::Error), "failed", Verdict::Failed),
            (|s| with_figures(s, |f| f.needs_check = true), "needs_check", Verdict::Failed),
            (
                |s| with_figures(s, |f| f.metadata.used = f.metadata.total),
                "out_of_metadata_space",
                Verdict::Failed,
            ),
            (
                |s| with_figures(s, |f| f.transaction_id = TransactionId(8)),
                "transaction_mismatch",
                Verdict::Failed,
            ),
            (
                |s| with_figures(s, |f| f.data.used = DataBlocks(1_500_000)),
                "data_nearly_full",
                Verdict::Degraded,
            ),
            (
                |s| with_figures(s, |f| f.metadata.used = MetaBlocks(500_000)),
                "metadata_nearly_full",
                Verdict::Degraded,
            ),
            (|s| host_has(s, Some(Bytes(1000))), "host_nearly_full", Verdict::Degraded),
            (|s| host_has(s, Some(Bytes(0))), "host_nearly_full", Verdict::Failed),
            (|s| s.live = None, "status_unreadable", Verdict::Failed),
            (|s| s.known = None, "status_unreadable", Verdict::Failed),
        ];
        for (change, key, verdict) in cases {
            let mut status = looped();
            status.problems.clear();
            change(&mut status);
            let status = status.assessed();
            let keys: Vec<_> = status.problems.iter().map(Problem::key).collect();
            assert_eq!(keys.first(), Some(&key), "{keys:?}");
            assert_eq!((status.verdict(), status.verdict().exit_code()), (verdict, 5), "{keys:?}");
        }
    }

    fn mode_is(status: &mut Status, mode: Mode) {
        if let Some(live) = &mut status.live {
            live.mode = mode;
            if matches!(mode, Mode::Fail | Mode::Error) {
                live.figures = None;
            }
        }
    }

    fn host_has(status: &mut Status, room: Option<Bytes>) {
        if let Some(files) = status.known.as_mut().and_then(|k| k.loop_files.as_mut()) {
            files.data.file_system_available = room;
            files.metadata.file_system_available = room;
        }
    }

    #[test]
    fn a_status_that_nobody_assessed_is_not_called_healthy_either() {
        for status in [Status { live: None, ..looped() }, Status { known: None, ..looped() }] {
            assert_eq!(Status { problems: Vec::new(), ..status }.verdict(), Verdict::Failed);
        }
        let inactive = Status { known: None, problems: Vec::new(), ..inactive() };
        assert_eq!(inactive.verdict(), Verdict::Failed);
        let mut full = looped();
        mode_is(&mut full, Mode::OutOfDataSpace);
        assert_eq!(full.verdict(), Verdict::Failed);
    }

    #[test]
    fn what_is_read_only_because_it_must_be_checked_says_so_in_its_row() {
        let mut status = looped();
        mode_is(&mut status, Mode::ReadOnly);
        with_figures(&mut status, |f| f.needs_check = true);
        assert!(text(&status).contains("Pool Mode: read-only, needs check\n"));
    }

    #[test]
    fn a_failed_pool_shows_no_zero_bytes() {
        let mut status = looped();
        mode_is(&mut status, Mode::Fail);
        let text = text(&status);
        assert!(text.contains("Data Space Used: unknown (pool failed)\n"), "{text}");
        assert!(text.contains("Pool Mode: failed\n"), "{text}");
    }

    #[test]
    fn scripts_can_tell_healthy_inactive_and_absent_apart() {
        let codes = [looped(), inactive(), absent(), half_set_up()].map(|s| s.verdict().exit_code());
        assert_eq!(codes, [0, 3, 4, 5]);
    }

    #[test]
    fn every_row_is_explained_in_the_documentation() {
        let docs = include_str!("../../docs/status.md");
        for status in every_status() {
            for row in text_rows(&status) {
                assert!(docs.contains(&format!("\n### {}\n", row.name)), "{} is not explained", row.name);
            }
            for problem in &status.problems {
                assert!(docs.contains(&format!("`{}`", problem.key())), "{} is not explained", problem.key());
            }
        }
    }

    #[test]
    fn every_sentence_ends_and_names_only_commands_that_exist() {
        for status in every_status() {
            for problem in &status.problems {
                let sentence = problem.sentence(&status.pool);
                assert!(sentence.ends_with('.') && !sentence.contains("  "), "{sentence}");
                let quoted = sentence.split('`').skip(1).step_by(2);
                for command in quoted.filter_map(|quoted| quoted.strip_prefix("thinpool ")) {
                    let mut words = command.split(' ').skip_while(|word| *word == "--pool");
                    let is_one = |word: &str| crate::cli::command().find_subcommand(word).is_some();
                    // After `--pool` comes a name.
                    assert!(
                        words.next().is_some_and(is_one) || words.next().is_some_and(is_one),
                        "{sentence}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_number_makes_a_report_panic(numbers: [u64; 8], percent in 0..100_u8) {
            let mut status = looped();
            let [used, total, meta_used, meta_total, low, room, tid, size] = numbers;
            with_figures(&mut status, |f| {
                f.data.used = DataBlocks(used);
                f.data.total = DataBlocks(total);
                f.metadata.used = MetaBlocks(meta_used);
                f.metadata.total = MetaBlocks(meta_total);
                f.low_water = DataBlocks(low);
                f.transaction_id = TransactionId(tid);
            });
            host_has(&mut status, Some(Bytes(room)));
            if let Some(known) = &mut status.known {
                known.base_size = Bytes(size);
                known.min_free_space = percent.try_into().expect("in range");
            }
            let status = status.assessed();
            prop_assert!(text(&status).ends_with('\n'));
            prop_assert!(super::super::json(&status).is_ok());
        }
    }
}
