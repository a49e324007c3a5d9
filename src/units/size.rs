//! Sizes as people type them, by the rules of Docker's `--storage-opt`: base 1024, fractions allowed,
//! a suffix k, m, g, t or p with an optional `b` or `ib`, in any case.

use std::str::FromStr;

use thiserror::Error;

use super::Bytes;

/// A size that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a size: write a number with an optional unit, such as 512M, 10G or 1.5T (base 1024)")]
pub struct SizeError(String);

impl FromStr for Bytes {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| SizeError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Bytes> {
    let text = text.trim();
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let factor = factor(unit.trim())?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).map(Bytes);
    }
    fraction(number, factor)
}

/// Bytes in one of the unit, or none if there is no such unit.
fn factor(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let prefix = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match prefix {
        "" if !unit.ends_with("ib") => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some(1024_u64.pow(power))
}

/// A number with a decimal point, rounded down to whole bytes.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the product is checked to be inside what f64 and u64 both hold exactly enough for a size"
)]
fn fraction(number: &str, factor: u64) -> Option<Bytes> {
    // A lone "." or ".5" or "5." is a slip of the finger, not a size.
    let (whole, decimals) = number.split_once('.')?;
    if whole.is_empty() || decimals.is_empty() {
        return None;
    }
    let bytes = number.parse::<f64>().ok()? * factor as f64;
    (bytes.is_finite() && bytes < u64::MAX as f64).then_some(Bytes(bytes as u64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dockers_ways_to_write_a_size_all_work() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("64K", 65_536),
            ("64kb", 65_536),
            ("64KiB", 65_536),
            ("10G", 10 << 30),
            ("10 GB", 10 << 30),
            ("1.5t", 3 << 39),
            ("2p", 2 << 50),
            (" 1m ", 1 << 20),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_an_error_that_shows_it() {
        for text in
            ["", "G", "10X", "-1", "1..5", ".", ".5g", "5.g", "1e3", "ib", "99999999999p", "10 G B", "½G"]
        {
            let error = text.parse::<Bytes>().expect_err(text);
            assert!(error.to_string().contains(&format!("'{text}'")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<Bytes>();
        }

        #[test]
        fn whole_numbers_are_exact(n in 0..(1_u64 << 43)) {
            prop_assert_eq!(format!("{n}M").parse::<Bytes>(), Ok(Bytes(n << 20)));
        }
    }
}
