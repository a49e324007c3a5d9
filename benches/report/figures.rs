//! What was measured, as the numbers that are compared.

use std::path::Path;

use crate::record::{Record, Unit};

/// All of it.
#[derive(Default)]
pub struct Figures {
    pub machine: Vec<(String, String)>,
    pub measured: Vec<Measured>,
    pub counted: Vec<Counted>,
    pub absent: Vec<(String, String)>,
    /// How large the release build is, in bytes.
    pub binary: Option<u64>,
}

/// How long one job took by one way.
pub struct Measured {
    pub job: String,
    pub way: String,
    /// In nanoseconds, the shortest first.
    times: Vec<u64>,
}

/// What was counted.
pub struct Counted {
    pub what: String,
    pub of: String,
    pub is: u64,
    pub unit: Unit,
}

impl Figures {
    /// Of the lines that a benchmark printed; those that are no records are for people.
    pub fn of(lines: &str) -> Self {
        let mut figures = Self::default();
        for record in lines.lines().filter_map(Record::parse) {
            match record {
                Record::Machine { what, is } => figures.machine.push((what, is)),
                Record::Count { what, of, is, unit } => figures.counted.push(Counted { what, of, is, unit }),
                Record::Absent { way, why } => figures.absent.push((way, why)),
                Record::Times { job, way, mut times } => {
                    times.sort_unstable();
                    figures.measured.push(Measured { job, way, times });
                }
            }
        }
        figures
    }

    /// The same, with the size of the binary that was measured.
    pub fn with_binary(self, binary: &Path) -> Self {
        Self { binary: binary.metadata().ok().map(|file| file.len()), ..self }
    }

    pub fn is_empty(&self) -> bool {
        self.measured.is_empty()
    }

    /// The median, in nanoseconds.
    pub fn median(&self, job: &str, way: &str) -> Option<f64> {
        Some(self.of_job(job).find(|measured| measured.way == way)?.median())
    }

    /// What was counted, as a number to divide.
    #[allow(clippy::cast_precision_loss, reason = "bytes of some GiB fit a float")]
    pub fn count(&self, what: &str, of: &str) -> Option<f64> {
        let counted = self.counted.iter().find(|counted| (&*counted.what, &*counted.of) == (what, of))?;
        Some(counted.is as f64)
    }

    /// Everybody who did a job.
    pub fn of_job<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a Measured> {
        self.measured.iter().filter(move |measured| measured.job == job)
    }
}

#[allow(clippy::cast_precision_loss, reason = "nanoseconds of hours fit a float")]
impl Measured {
    pub fn runs(&self) -> usize {
        self.times.len()
    }

    pub fn median(&self) -> f64 {
        self.at(2)
    }

    /// Between these two lies the middle half of all times.
    pub fn quartiles(&self) -> (f64, f64) {
        (self.at(1), self.at(3))
    }

    pub fn extremes(&self) -> (f64, f64) {
        (self.at(0), self.at(4))
    }

    /// So many quarters of the times are shorter.
    fn at(&self, quarters: usize) -> f64 {
        let last = self.times.len().saturating_sub(1);
        self.times.get(last * quarters / 4).map_or(f64::NAN, |time| *time as f64)
    }
}
