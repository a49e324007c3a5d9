//! Percentages as people type them: `10%`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Bytes, DataBlocks, MetaBlocks};

/// A whole percentage, 0% to 100%.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percent(u8);

/// A text or a number that is no percentage.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a percentage: write a whole number from 0 to 100 with its sign, such as 10%")]
pub struct PercentError(String);

impl Percent {
    /// None of it; as a limit, it is off.
    pub const ZERO: Percent = Percent(0);

    /// The number before the sign.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// How many of these data blocks, rounded down as Docker's driver does.
    #[must_use]
    pub fn of_data(self, total: DataBlocks) -> DataBlocks {
        DataBlocks(self.of(total.0))
    }

    /// How many of these metadata blocks, rounded down.
    #[must_use]
    pub fn of_metadata(self, total: MetaBlocks) -> MetaBlocks {
        MetaBlocks(self.of(total.0))
    }

    /// How many of these bytes, rounded down.
    #[must_use]
    pub fn of_bytes(self, total: Bytes) -> Bytes {
        Bytes(self.of(total.0))
    }

    /// Exact for every total: the product needs more than 64 bits, the quotient never does.
    fn of(self, total: u64) -> u64 {
        let share = u128::from(total) * u128::from(self.0) / 100;
        u64::try_from(share).unwrap_or(total)
    }
}

impl TryFrom<u8> for Percent {
    type Error = PercentError;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        if number <= 100 { Ok(Self(number)) } else { Err(PercentError(number.to_string())) }
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> u8 {
        percent.0
    }
}

/// The sign is mandatory, as for Docker's `dm.min_free_space`: `10` alone might be meant as gigabytes.
impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.trim().strip_suffix('%').filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        number
            .and_then(|n| n.parse::<u8>().ok())
            .and_then(|n| Self::try_from(n).ok())
            .ok_or_else(|| PercentError(text.to_owned()))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_percentage_without_its_sign_is_refused() {
        assert_eq!("10%".parse(), Ok(Percent(10)));
        assert_eq!("0%".parse(), Ok(Percent::ZERO));
        assert_eq!("100%".parse(), Ok(Percent(100)));
        for text in ["10", "", "%", "-1%", "+1%", "101%", "1.5%", "256%", "10 %"] {
            assert_eq!(text.parse::<Percent>(), Err(PercentError(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn a_share_is_never_more_than_the_whole(total: u64, number in 0..=100_u8) {
            let percent = Percent::try_from(number).expect("in range");
            prop_assert!(percent.of_data(DataBlocks(total)).0 <= total);
        }
    }
}
