//! Compression is told by the first bytes of the data, never by a name or a media type.

use std::fmt;
use std::io::{self, BufRead, Read};

/// What a stream is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Plain,
    Gzip,
    Zstd,
    Xz,
    /// Known by its magic number, and not supported.
    Foreign(&'static str),
}

/// As many first bytes as [`Compression::of`] looks at.
pub(super) const MAGIC: usize = 6;

/// The dictionary of `xz -9` is 64 MiB, and its decoder takes 65.
const XZ_MEMORY: u64 = 80 << 20;
/// 128 MiB: the window of `zstd --ultra -22`, and the most that `zstd -d` itself takes unasked.
const ZSTD_WINDOW_LOG: u32 = 27;

impl Compression {
    /// What data that begin like this are compressed with.
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable frame, which may come first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Foreign("bzip2"),
            [b'L', b'Z', b'I', b'P', ..] => Self::Foreign("lzip"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Foreign("lz4"),
            [b'P', b'K', 3, 4, ..] => Self::Foreign("zip"),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Self::Foreign("7z"),
            _ => Self::Plain,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Foreign(name) => name,
        })
    }
}

/// The plain data in `input`, which is compressed so. All members, frames or streams of it, one after the other.
pub(super) fn decompress<'r, R: BufRead + Send + 'r>(
    compression: Compression,
    input: R,
) -> io::Result<Box<dyn Read + Send + 'r>> {
    let reader: Box<dyn Read + Send + 'r> = match compression {
        Compression::Plain => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Compression::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Foreign(name) => {
            let told = format!("compressed with {name}: recompress it with gzip, zstd or xz, or not at all");
            return Err(io::Error::new(io::ErrorKind::Unsupported, told));
        }
    };
    Ok(Box::new(Told { compression, reader }))
}

/// Adds the compression's name to what went wrong in it.
struct Told<R> {
    compression: Compression,
    reader: R,
}

impl<R: Read> Read for Told<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| match (self.compression, error.kind()) {
            (Compression::Plain, _) | (_, io::ErrorKind::Interrupted) => error,
            (compression, io::ErrorKind::UnexpectedEof) => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the {compression} data end too early: the file was cut off"),
            ),
            (compression, kind) => io::Error::new(kind, format!("{compression}: {error}")),
        })
    }
}

/// Reads until `buffer` is full or the data end; how much it read.
pub(super) fn read_full(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(data: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 9);
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn plain(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(Compression::of(data), data)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::encode_all(data, 3).unwrap()
    }

    #[test]
    fn every_member_of_a_multi_member_file_is_read() {
        for pack in [gzip, xz, zstd] {
            let data = [pack(b"first, "), pack(b"second")].concat();
            assert_eq!(plain(&data).unwrap(), b"first, second", "{}", Compression::of(&data));
        }
        assert_eq!(plain(b"as it is").unwrap(), b"as it is");
    }

    #[test]
    fn data_cut_off_are_an_error_and_not_a_shorter_layer() {
        let content: Vec<u8> =
            (0..100_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
        for pack in [gzip, xz, zstd] {
            let data = pack(&content);
            for length in [data.len() - 1, data.len() / 2] {
                let told = plain(&data[..length]).expect_err("half a file").to_string();
                assert!(told.contains(&Compression::of(&data).to_string()), "{told}");
            }
        }
    }

    #[test]
    fn a_window_that_would_take_a_gigabyte_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(30).unwrap();
        encoder.write_all(&[0; 4096]).unwrap();
        encoder.flush().unwrap();
        encoder.write_all(&[0; 4096]).unwrap();
        assert!(plain(&encoder.finish().unwrap()).is_err());
    }

    #[test]
    fn an_unsupported_compression_is_named() {
        let told = plain(b"BZh91AY&SY").expect_err("bzip2").to_string();
        assert!(told.contains("bzip2") && told.contains("zstd"), "{told}");
    }
}
