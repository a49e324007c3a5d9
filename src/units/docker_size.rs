//! Sizes as Docker prints them: base 1000, four significant digits.

use std::fmt;

use super::Bytes;

/// Shows a size as `docker info` does: `65.54kB`, `10.74GB`, `859MB`, `0B` (Go's `units.HumanSize`, which
/// formats with `%.4g`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DockerSize(pub Bytes);

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const SIGNIFICANT_DIGITS: usize = 4;

impl fmt::Display for DockerSize {
    #[allow(clippy::cast_precision_loss, reason = "Go's units.HumanSize takes a float64 too: same rounding")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut size = self.0.0 as f64;
        let mut units = UNITS.iter();
        let mut unit = units.next();
        // Go divides before it rounds, so what rounds up to 1000 keeps its unit: 999999 is 1000kB.
        while size >= 1000.0 {
            size /= 1000.0;
            unit = units.next();
        }
        f.pad(&format!("{}{}", four_digits(size), unit.unwrap_or(&"EB")))
    }
}

/// `%.4g` of a number from 0 up to (and, rounded, including) 1000.
fn four_digits(number: f64) -> String {
    let whole_digits = if number >= 100.0 {
        3
    } else if number >= 10.0 {
        2
    } else {
        1
    };
    let text = format!("{number:.*}", SIGNIFICANT_DIGITS - whole_digits);
    // 9.9996 becomes 10.000 with a digit too many; like every other zero at the end it goes.
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(size: u64) -> String {
        DockerSize(Bytes(size)).to_string()
    }

    #[test]
    fn sizes_are_those_of_docker_info_to_the_letter() {
        for (size, text) in [
            (0, "0B"),
            (1, "1B"),
            (10, "10B"),
            (100, "100B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.024kB"),
            (10_000, "10kB"),
            (65_536, "65.54kB"),
            (100_250, "100.2kB"),
            (100_750, "100.8kB"),
            (999_949, "999.9kB"),
            (999_950, "1000kB"),
            (999_999, "1000kB"),
            (1_000_000, "1MB"),
            (9_999_600, "10MB"),
            (99_996_000, "100MB"),
            (72_876_032, "72.88MB"),
            (858_980_352, "859MB"),
            (8_589_934_592, "8.59GB"),
            (10_737_418_240, "10.74GB"),
            (107_374_182_400, "107.4GB"),
            (u64::MAX, "18.45EB"),
        ] {
            assert_eq!(shown(size), text);
        }
    }

    proptest! {
        #[test]
        fn a_size_has_at_most_four_digits_no_idle_zero_and_is_nearly_true(size: u64, shift in 0..64_u32) {
            let size = size >> shift;
            let text = shown(size);
            let number_end = text.find(|c: char| c.is_ascii_alphabetic()).expect("a unit");
            let (number, unit) = text.split_at(number_end);
            let digits = number.trim_start_matches("0.").bytes().filter(u8::is_ascii_digit).count();
            prop_assert!(digits <= 4, "{}", text);
            prop_assert!(!number.contains('.') || !number.ends_with(['0', '.']), "{}", text);
            let power = UNITS.iter().position(|u| *u == unit).expect("a unit");
            let back = number.parse::<f64>().expect("a number") * 1000_f64.powi(i32::try_from(power).expect("small"));
            #[allow(clippy::cast_precision_loss)]
            let size = size as f64;
            prop_assert!((back - size).abs() <= size * 0.0005, "{}", text);
        }
    }
}
