//! Sparse files in tar archives: GNU's old format, and the three that GNU tar writes with `--format=posix`.

use std::io::BufRead;

use tar::{GnuExtSparseHeader, GnuSparseHeader};

use super::pax::decimal;

/// A run of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The most runs that one file may have: 16 MiB of memory.
pub(super) const MAX_SEGMENTS: usize = 1 << 20;

/// What extended headers say about a sparse file.
#[derive(Debug, Clone, Default)]
pub(super) struct PaxSparse {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    major: Option<u64>,
    minor: Option<u64>,
    numbers: Option<Vec<u64>>,
}

/// Where the map of a sparse file is.
pub(super) enum Map {
    /// In the header (formats 0.0 and 0.1), or this is no sparse file.
    Known(Option<Vec<Segment>>),
    /// In the first blocks of the data (format 1.0).
    InData,
}

impl PaxSparse {
    /// Takes the record `GNU.sparse.KEY`.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"major" => self.major = Some(decimal(value)?),
            b"minor" => self.minor = Some(decimal(value)?),
            b"offset" | b"numbytes" => self.numbers.get_or_insert_default().push(decimal(value)?),
            b"map" if value.is_empty() => self.numbers = Some(Vec::new()),
            b"map" => self.numbers = Some(value.split(|&b| b == b',').map(decimal).collect::<Option<_>>()?),
            _ => {}
        }
        Some(())
    }

    pub(super) fn map(&self) -> Result<Map, String> {
        match (self.major, self.minor, &self.numbers) {
            (Some(1), Some(0), _) => Ok(Map::InData),
            (None | Some(0), _, None) => Ok(Map::Known(None)),
            (None | Some(0), _, Some(numbers)) => pairs(numbers).map(Some).map(Map::Known),
            (Some(major), minor, _) => {
                Err(format!("sparse files of the format {major}.{} are unknown", minor.unwrap_or(0)))
            }
        }
    }
}

fn pairs(numbers: &[u64]) -> Result<Vec<Segment>, String> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > MAX_SEGMENTS {
        return Err("the map of a sparse file is malformed".to_owned());
    }
    Ok(pairs.iter().map(|&[offset, length]| Segment { offset, length }).collect())
}

/// Checks that runs ascend, stay in the file and are as long together as the data that the archive has of them.
pub(super) fn check(segments: &[Segment], size: u64, data: u64) -> Result<(), String> {
    let mut end = 0_u64;
    let mut sum = 0_u64;
    for segment in segments {
        let next = segment.offset.checked_add(segment.length);
        match next {
            Some(next) if segment.offset >= end && next <= size => end = next,
            _ => return Err("the map of a sparse file contradicts itself".to_owned()),
        }
        sum += segment.length;
    }
    if sum == data {
        Ok(())
    } else {
        Err(format!("a sparse file has {data} bytes of data and a map for {sum}"))
    }
}

/// The map in the header of GNU's old format, continued in `extended` blocks that `next_block` reads.
pub(super) fn old_gnu<E>(
    header: &tar::GnuHeader,
    mut next_block: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<Result<Vec<Segment>, String>, E> {
    let mut segments = Vec::new();
    let mut sound = push(&mut segments, &header.sparse);
    let mut more = header.is_extended();
    while more {
        let mut block = GnuExtSparseHeader::new();
        next_block(block.as_mut_bytes())?;
        sound = sound && push(&mut segments, block.sparse()) && segments.len() <= MAX_SEGMENTS;
        if !sound {
            break;
        }
        more = block.is_extended();
    }
    Ok(if sound { Ok(segments) } else { Err("the map of a sparse file is malformed".to_owned()) })
}

fn push(segments: &mut Vec<Segment>, headers: &[GnuSparseHeader]) -> bool {
    headers.iter().take_while(|header| !header.is_empty()).all(|header| {
        let segment = header.offset().and_then(|offset| Ok(Segment { offset, length: header.length()? }));
        segment.map(|segment| segments.push(segment)).is_ok()
    })
}

/// The map at the beginning of the data (format 1.0): the number of runs, then offset and length of each, a line each,
/// padded to a whole block. Returns it with how much of the data it took.
pub(super) fn in_data(input: &mut dyn BufRead) -> std::io::Result<Result<(Vec<Segment>, u64), String>> {
    let mut used = 0;
    let mut numbers: Vec<u64> = Vec::new();
    let mut wanted = 1;
    while numbers.len() < wanted {
        let mut line = Vec::new();
        // No number has more digits than this.
        used += std::io::Read::take(&mut *input, 21).read_until(b'\n', &mut line)? as u64;
        let Some(number) = line.strip_suffix(b"\n").and_then(decimal) else {
            return Ok(Err("the map of a sparse file is malformed".to_owned()));
        };
        if numbers.is_empty() {
            match usize::try_from(number) {
                Ok(count) if count <= MAX_SEGMENTS => wanted = 1 + 2 * count,
                _ => return Ok(Err(format!("a sparse file has a map of {number} runs: too many"))),
            }
        }
        numbers.push(number);
    }
    let padding = used.next_multiple_of(512) - used;
    std::io::copy(&mut std::io::Read::take(&mut *input, padding), &mut std::io::sink())?;
    Ok(pairs(&numbers[1..]).map(|segments| (segments, used + padding)))
}
