//! Finds the problems that follow from what was read.

use super::{Figures, Known, LiesOn, LoopFile, Mode, Problem, State, Status, Unchecked};
use crate::dm::Blocks;
use crate::thin_tools::Outcome;
use crate::units::{BlockSize, Bytes, DataBlocks, MetaBlocks, Percent};

/// Below this share the file system under a loop file counts as nearly full, where the pool's own minimum is
/// off.
const HOST_MINIMUM: u8 = 5;

impl Status {
    /// The same status with every problem that follows from it. What only the caller can know (a missing file,
    /// a damaged superblock, an error while reading) is in `problems` already and stays first.
    #[must_use]
    pub fn assessed(mut self) -> Self {
        for problem in self.find() {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        // The worst first; sorting is stable.
        self.problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity()));
        self
    }

    /// What is wrong by what was read, whoever said so already.
    pub(super) fn find(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        match self.state {
            State::Absent => found.push(Problem::Absent),
            State::HalfSetUp => found.push(Problem::HalfSetUp),
            // That one is told as the thin pool that is missing.
            State::Inactive if self.lies_on_a_thin_pool() => {}
            State::Inactive => found.push(Problem::Inactive),
            State::Active => self.of_the_kernel(&mut found),
        }
        found.extend(self.known.as_ref().and_then(|known| of_the_check(known, self.state)));
        match (&self.known, self.state) {
            (Some(known), _) => self.of_the_host(known, &mut found),
            (None, State::Inactive | State::Active) => {
                found.extend(self.unreadable("the catalog's part of it is missing"));
            }
            (None, State::Absent | State::HalfSetUp) => {}
        }
        found
    }

    fn lies_on_a_thin_pool(&self) -> bool {
        self.known.as_ref().is_some_and(|known| matches!(known.lies_on, LiesOn::ThinPool { .. }))
    }

    /// That something wasn't read, unless whoever tried has said why already.
    fn unreadable(&self, why: &str) -> Option<Problem> {
        let is_said = self.problems.iter().any(|p| matches!(p, Problem::StatusUnreadable { .. }));
        (!is_said).then(|| Problem::StatusUnreadable { why: why.to_owned() })
    }

    fn of_the_kernel(&self, found: &mut Vec<Problem>) {
        let Some(live) = &self.live else {
            found.extend(self.unreadable("the kernel's part of it is missing"));
            return;
        };
        match live.mode {
            Mode::Fail | Mode::Error => found.push(Problem::Failed),
            Mode::OutOfDataSpace => found.push(Problem::OutOfDataSpace),
            Mode::ReadWrite | Mode::ReadOnly => {}
        }
        if let Some(figures) = &live.figures {
            of_the_figures(live.mode, figures, found);
            self.of_both(figures, live.mode, found);
        }
        // Somebody else's is for whoever made it to watch.
        if !live.monitored && self.known.is_some() && !self.lies_on_a_thin_pool() {
            found.push(Problem::NotMonitored);
        }
    }

    /// What shows only when catalog and kernel are compared.
    fn of_both(&self, figures: &Figures, mode: Mode, found: &mut Vec<Problem>) {
        let Some(known) = &self.known else { return };
        if known.transaction_id != figures.transaction_id {
            found.push(Problem::TransactionMismatch {
                expected: known.transaction_id,
                found: figures.transaction_id,
            });
        }
        let minimum = known.min_free_space;
        if mode != Mode::OutOfDataSpace {
            found.extend(data_nearly_full(figures.data, figures.low_water, minimum, known.block_size));
        }
        found.extend(metadata_nearly_full(figures.metadata, figures.metadata_low_water, minimum));
    }

    fn of_the_host(&self, known: &Known, found: &mut Vec<Problem>) {
        let Some(files) = &known.loop_files else { return };
        found.push(Problem::Loopback);
        let minimum = match known.min_free_space {
            Percent::ZERO => Percent::try_from(HOST_MINIMUM).unwrap_or(Percent::ZERO),
            share => share,
        };
        let same_host = |file: &LoopFile| (file.file_system_size, file.file_system_available);
        found.extend(self.nearly_full(&files.data, minimum));
        // Both files are nearly always on one file system, which needs no second line.
        if same_host(&files.data) != same_host(&files.metadata) {
            found.extend(self.nearly_full(&files.metadata, minimum));
        }
        let free = self.figures().map(|figures| figures.data.free().bytes(known.block_size));
        if let (Some(free), Some(available)) = (free, files.data.file_system_available)
            && available < free
        {
            found.push(Problem::Overcommitted { path: files.data.path.clone(), free, available });
        }
    }

    fn nearly_full(&self, file: &LoopFile, minimum: Percent) -> Option<Problem> {
        let path = file.path.clone();
        let missing = self
            .problems
            .iter()
            .any(|p| matches!(p, Problem::LoopFileMissing { path } if *path == file.path));
        match (file.file_system_available, file.file_system_size) {
            (Some(available), size)
                if available < minimum.of_bytes(size.unwrap_or_default()).max(Bytes(1)) =>
            {
                Some(Problem::HostNearlyFull { path, available })
            }
            (None, _) if !missing => Some(Problem::HostRoomUnknown { path }),
            _ => None,
        }
    }
}

/// What the last check of the metadata found.
fn of_the_check(known: &Known, state: State) -> Option<Problem> {
    let check = known.metadata_check.as_ref()?;
    let not_checked = |why| Some(Problem::NotChecked { after_crash: !check.clean, why });
    match &check.checked.outcome {
        Outcome::Damaged { said } if state == State::Inactive => {
            Some(Problem::MetadataDamaged { said: said.clone() })
        }
        // It is active because somebody loaded it without a check, which is written down.
        Outcome::Sound | Outcome::Damaged { .. } => None,
        Outcome::Leaks => Some(Problem::MetadataLeaks),
        Outcome::Unfinished { limit } => not_checked(Unchecked::OutOfTime { limit: *limit }),
        Outcome::NoTool => not_checked(Unchecked::NoTool),
        Outcome::Skipped => not_checked(Unchecked::Skipped),
    }
}

/// That few blocks are left for data: no more than at the low-water mark, or less than is to be kept free.
pub(crate) fn data_nearly_full(
    data: Blocks<DataBlocks>,
    low_water: DataBlocks,
    minimum: Percent,
    block_size: BlockSize,
) -> Option<Problem> {
    let free = data.free();
    let refuses_new = free < minimum.of_data(data.total);
    (refuses_new || free <= low_water).then(|| Problem::DataNearlyFull {
        free: free.bytes(block_size),
        total: data.total.bytes(block_size),
        refuses_new,
    })
}

/// The same for metadata, which has its mark from the kernel. That none is left is another problem.
pub(crate) fn metadata_nearly_full(
    metadata: Blocks<MetaBlocks>,
    low_water: Option<MetaBlocks>,
    minimum: Percent,
) -> Option<Problem> {
    let free = metadata.free();
    let low = minimum.of_metadata(metadata.total);
    let low = low_water.map_or(low, |mark| mark.max(low));
    (free.0 > 0 && free <= low)
        .then(|| Problem::MetadataNearlyFull { free: free.bytes(), total: metadata.total.bytes() })
}

fn of_the_figures(mode: Mode, figures: &Figures, found: &mut Vec<Problem>) {
    if figures.needs_check {
        found.push(Problem::NeedsCheck);
    }
    // The kernel has a mode "out of metadata" but calls it read-only in its status line.
    if figures.metadata.free().0 == 0 {
        found.push(Problem::OutOfMetadataSpace);
    } else if mode == Mode::ReadOnly && !figures.needs_check {
        found.push(Problem::ReadOnly);
    }
}
