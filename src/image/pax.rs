//! The extended headers of POSIX tar: records of `LENGTH KEY=VALUE\n`.
//!
//! The records are taken by their length, since values may hold any byte: a capability with a newline in it is lost
//! when records are split at newlines.

use super::sparse::PaxSparse;

/// A moment, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Time {
    pub(super) secs: i64,
    pub(super) nanos: u32,
}

/// What an extended header says about the entry that follows it, or about all that follow.
#[derive(Debug, Clone, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    /// Names and values; a later one of the same name counts.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Access control lists as text, which only GNU tar writes.
    pub(super) acl_texts: u64,
    pub(super) sparse: PaxSparse,
}

impl Pax {
    /// Adds the records in `data`. The error says what is wrong with them.
    pub(super) fn read(&mut self, mut data: &[u8]) -> Result<(), String> {
        while !data.is_empty() {
            let (key, value, rest) = record(data).ok_or("an extended header has a malformed record")?;
            self.set(key, value)
                .ok_or_else(|| format!("the extended header '{}' is malformed", key.escape_ascii()))?;
            data = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            let name = decode_name(name);
            self.xattrs.retain(|(other, _)| *other != name);
            self.xattrs.push((name, value.to_vec()));
            return Some(());
        }
        // An empty value takes an earlier, global one back.
        match key {
            b"path" => self.path = some(value).map(<[u8]>::to_vec),
            b"linkpath" => self.link = some(value).map(<[u8]>::to_vec),
            b"size" => self.size = optional(value, decimal)?,
            b"uid" => self.uid = optional(value, decimal)?,
            b"gid" => self.gid = optional(value, decimal)?,
            b"mtime" => self.mtime = optional(value, time)?,
            b"SCHILY.acl.access" | b"SCHILY.acl.default" => self.acl_texts += 1,
            key => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(key, value)?;
                }
            }
        }
        Some(())
    }
}

/// A record that is short enough to be real: its key, its value and what follows.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(8).position(|&b| b == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&b| b == b'=')?;
    (equals > 0).then(|| (&record[..equals], &record[equals + 1..], &data[length..]))
}

fn some(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}

/// The outer none is an error; the inner one an empty value.
#[allow(clippy::option_option, reason = "one is for errors")]
fn optional<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    match some(value) {
        None => Some(None),
        Some(value) => parse(value).map(Some),
    }
}

/// A number of decimal digits and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    text.parse().ok()
}

/// Seconds with a fraction, possibly before 1970.
fn time(value: &[u8]) -> Option<Time> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = value.iter().position(|&b| b == b'.').unwrap_or(value.len());
    let secs = i64::try_from(decimal(&value[..dot])?).ok()?;
    let fraction = value.get(dot + 1..).unwrap_or_default();
    fraction.iter().all(u8::is_ascii_digit).then_some(())?;
    let nanos = (0..9).fold(0, |nanos, at| nanos * 10 + u32::from(fraction.get(at).map_or(0, |d| d - b'0')));
    Some(match (negative, nanos) {
        (false, nanos) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos },
        (true, nanos) => Time { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
    })
}

/// An attribute's name may hold the `=` that ends the key; GNU tar and this program write it as `%3D`, and `%` as
/// `%25`.
fn decode_name(name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, used) = match rest.get(..3) {
            Some(b"%3D") => (b'=', 3),
            Some(b"%25") => (b'%', 3),
            _ => (first, 1),
        };
        decoded.push(byte);
        rest = &tail[used - 1..];
    }
    decoded
}

/// The other way round.
pub(super) fn encode_name(name: &[u8]) -> Vec<u8> {
    name.iter().fold(Vec::with_capacity(name.len()), |mut encoded, &byte| {
        match byte {
            b'=' => encoded.extend(b"%3D"),
            b'%' => encoded.extend(b"%25"),
            byte => encoded.push(byte),
        }
        encoded
    })
}

/// One record, whose length counts its own digits.
pub(super) fn write_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend(length.to_string().as_bytes());
    out.push(b' ');
    out.extend(key);
    out.push(b'=');
    out.extend(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_before_1970_and_fractions_are_exact() {
        for (text, secs, nanos) in [
            ("0", 0, 0),
            ("1700000000.123456789", 1_700_000_000, 123_456_789),
            ("1.5", 1, 500_000_000),
            ("1.1234567891", 1, 123_456_789),
            ("-1.25", -2, 750_000_000),
            ("-3", -3, 0),
        ] {
            assert_eq!(time(text.as_bytes()), Some(Time { secs, nanos }), "{text}");
        }
        for text in ["x", "1.x", "--1", "1e3", "99999999999999999999"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn records_that_lie_about_their_length_are_errors() {
        for data in
            ["5", "x a=b\n", "6 a=b\n\n", "7 a=b\n", "99 a=b\n", "0 a=b\n", "1 a=b\n", "5 ab\n", "5 =b\n"]
        {
            assert!(Pax::default().read(data.as_bytes()).is_err(), "{data:?}");
        }
    }

    proptest! {
        #[test]
        fn an_attribute_survives_whatever_bytes_it_has(
            name in prop::collection::vec(1..=255_u8, 1..40),
            value in prop::collection::vec(any::<u8>(), 0..1200),
        ) {
            let mut data = Vec::new();
            write_record(&mut data, &[b"SCHILY.xattr.", &encode_name(&name)[..]].concat(), &value);
            let mut pax = Pax::default();
            prop_assert_eq!(pax.read(&data), Ok(()));
            prop_assert_eq!(pax.xattrs, vec![(name, value)]);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pax::default().read(&data);
        }
    }
}
