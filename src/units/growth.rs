//! How much larger something is to be, as people type it: `200G`, `+10G`, `+20%`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::Bytes;

/// How much larger something is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// So large.
    To(Bytes),
    /// By so much.
    By(Bytes),
    /// By this share of what it is, in percent; it may be more than the whole.
    Share(u32),
}

/// A text that doesn't say how much larger.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' doesn't say how large: write the new size (200G), or by how much it is to grow (+10G, +20%)")]
pub struct GrowthError(String);

impl Growth {
    /// What comes out of this size; `None` if that is more than can be counted.
    #[must_use]
    pub fn of(self, now: Bytes) -> Option<Bytes> {
        match self {
            Self::To(size) => Some(size),
            Self::By(more) => now.0.checked_add(more.0).map(Bytes),
            Self::Share(percent) => {
                let more = u128::from(now.0) * u128::from(percent) / 100;
                now.0.checked_add(u64::try_from(more).ok()?).map(Bytes)
            }
        }
    }
}

impl FromStr for Growth {
    type Err = GrowthError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || GrowthError(text.to_owned());
        let Some(more) = text.trim().strip_prefix('+') else {
            return text.parse().map(Self::To).map_err(|_| wrong());
        };
        match more.strip_suffix('%') {
            Some(share) if share.bytes().all(|byte| byte.is_ascii_digit()) => {
                share.parse().map(Self::Share).map_err(|_| wrong())
            }
            Some(_) => Err(wrong()),
            None => more.parse().map(Self::By).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To(size) => write!(f, "{size}"),
            Self::By(more) => write!(f, "+{more}"),
            Self::Share(percent) => write!(f, "+{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_a_step_and_a_share_are_told_apart() {
        assert_eq!("200G".parse(), Ok(Growth::To(Bytes::gib(200))));
        assert_eq!("+10G".parse(), Ok(Growth::By(Bytes::gib(10))));
        assert_eq!("+20%".parse(), Ok(Growth::Share(20)));
        for text in ["", "+", "%", "+%", "20%", "-10G", "+-1%", "+1.5%", "++1G", "+99999999999%"] {
            assert_eq!(text.parse::<Growth>(), Err(GrowthError(text.to_owned())), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_growth_never_makes_smaller(now: u64, more: u64, percent: u32) {
            for growth in [Growth::By(Bytes(more)), Growth::Share(percent)] {
                prop_assert!(growth.of(Bytes(now)).is_none_or(|then| then >= Bytes(now)));
            }
        }
    }
}
