//! Quantities with their units in the type.

use std::fmt;

/// A number of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl Bytes {
    /// As LVM's commands take it. They refuse what isn't a multiple of a sector, so it is rounded up to one.
    pub(crate) fn as_argument(self) -> String {
        const SECTOR: u64 = 512;
        let whole = self.0.checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX - u64::MAX % SECTOR);
        format!("{whole}b")
    }
}

impl fmt::Display for Bytes {
    /// In the largest of LVM's units that makes it at least one, rounded down to two decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} bytes", self.0);
        }
        let power = self.0.ilog2() / 10;
        let unit = 1_u128 << (10 * power);
        let hundredths = u128::from(self.0) * 100 / unit;
        let name = UNITS.get(power as usize - 1).unwrap_or(&"?");
        write!(f, "{}.{:02} {name}", hundredths / 100, hundredths % 100)
    }
}

/// A number of a volume group's extents: the unit in which it gives out room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extents(pub u64);

impl Extents {
    /// So many extents of this size.
    #[must_use]
    pub fn bytes(self, extent_size: Bytes) -> Bytes {
        Bytes(self.0.saturating_mul(extent_size.0))
    }
}

/// A whole percentage, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

impl Percent {
    /// The percentage, or none outside of 1 to 100.
    #[must_use]
    pub fn new(percent: u8) -> Option<Self> {
        (1..=100).contains(&percent).then_some(Self(percent))
    }
}

/// How large a new volume shall be. Bytes are rounded up to whole extents, percentages down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// At least so many bytes.
    Bytes(Bytes),
    /// So many extents.
    Extents(Extents),
    /// A share of the whole volume group, used or not.
    PercentOfVg(Percent),
    /// A share of what is free in the volume group.
    PercentOfFree(Percent),
}

impl Size {
    /// LVM's option and its value.
    pub(crate) fn as_arguments(self) -> [String; 2] {
        match self {
            Self::Bytes(bytes) => ["--size".to_owned(), bytes.as_argument()],
            Self::Extents(Extents(count)) => ["--extents".to_owned(), count.to_string()],
            Self::PercentOfVg(Percent(share)) => ["--extents".to_owned(), format!("{share}%VG")],
            Self::PercentOfFree(Percent(share)) => ["--extents".to_owned(), format!("{share}%FREE")],
        }
    }

    /// What it comes to in a group of this many extents.
    pub(crate) fn bytes(self, extent_size: Bytes, all: Extents, free: Extents) -> Bytes {
        let share = |Percent(share): Percent, Extents(of): Extents| {
            Extents((u128::from(of) * u128::from(share) / 100).try_into().unwrap_or(of)).bytes(extent_size)
        };
        match self {
            Self::Bytes(Bytes(bytes)) => {
                Bytes(bytes.checked_next_multiple_of(extent_size.0.max(1)).unwrap_or(u64::MAX))
            }
            Self::Extents(extents) => extents.bytes(extent_size),
            Self::PercentOfVg(percent) => share(percent, all),
            Self::PercentOfFree(percent) => share(percent, free),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lvm_would_refuse_a_size_between_two_sectors() {
        assert_eq!(Bytes(8_388_609).as_argument(), "8389120b");
        assert_eq!(Bytes(512).as_argument(), "512b");
    }

    #[test]
    fn people_can_read_a_size() {
        assert_eq!(Bytes(130_023_424).to_string(), "124.00 MiB");
        assert_eq!(Bytes(1023).to_string(), "1023 bytes");
        assert_eq!(Bytes(1536).to_string(), "1.50 KiB");
    }

    #[test]
    fn a_share_is_rounded_down_and_bytes_up_as_lvm_does_it() {
        let extent = Bytes(4 << 20);
        let size = |size: Size| size.bytes(extent, Extents(63), Extents(31)).0 >> 22;
        assert_eq!(Percent::new(50).map(|half| size(Size::PercentOfVg(half))), Some(31));
        assert_eq!(Percent::new(50).map(|half| size(Size::PercentOfFree(half))), Some(15));
        assert_eq!(size(Size::Bytes(Bytes((4 << 20) + 1))), 2);
        assert_eq!((Percent::new(0), Percent::new(101)), (None, None));
    }

    proptest! {
        #[test]
        fn no_amount_overflows(bytes: u64, extent: u64, all: u64, free: u64, percent in 1..=100_u8) {
            let _ = (Bytes(bytes).to_string(), Bytes(bytes).as_argument());
            let percent = Percent::new(percent).unwrap();
            for size in [
                Size::Bytes(Bytes(bytes)),
                Size::Extents(Extents(bytes)),
                Size::PercentOfVg(percent),
                Size::PercentOfFree(percent),
            ] {
                let _ = size.bytes(Bytes(extent), Extents(all), Extents(free));
            }
        }
    }
}
