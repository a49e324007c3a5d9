//! Whiteouts: how a layer's archive says that something below is gone (OCI image specification, layer.md).

use super::error::Refusal;
use super::resolve::{Place, components};

const PREFIX: &[u8] = b".wh.";
/// Names with it are the bookkeeping of aufs, except for the marker of an opaque directory.
const META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry of an image layer is, besides itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whiteout<'p> {
    /// It removes the lower layers' file of this name.
    Remove(&'p [u8]),
    /// It hides all that lower layers have in its directory.
    Opaque,
    /// It means nothing to anyone but aufs.
    Ignore,
}

impl<'p> Whiteout<'p> {
    /// What whiteout this is; none for an ordinary entry.
    pub(super) fn of(place: &'p Place) -> Result<Option<Self>, Refusal> {
        for component in components(&place.parent) {
            if component.starts_with(META) {
                return Ok(Some(Self::Ignore));
            }
            if component.starts_with(PREFIX) {
                return Err(Refusal::BadWhiteout);
            }
        }
        let name = &place.name[..];
        if name == OPAQUE {
            return Ok(Some(Self::Opaque));
        }
        if name.starts_with(META) {
            return Ok(Some(Self::Ignore));
        }
        match name.strip_prefix(PREFIX) {
            None => Ok(None),
            Some(b"" | b"." | b"..") => Err(Refusal::BadWhiteout),
            Some(hidden) => Ok(Some(Self::Remove(hidden))),
        }
    }
}

/// The name of the whiteout that says that a file is gone.
pub(super) fn of(path: &[u8]) -> Vec<u8> {
    let name = path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
    [&path[..name], PREFIX, &path[name..]].concat()
}

/// Whether a file of this path would be taken for a whiteout in a layer.
pub(super) fn is_meant_by(path: &[u8]) -> bool {
    path.rsplit(|&b| b == b'/').next().is_some_and(|name| name.starts_with(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whiteout_can_only_name_a_file_beside_it() {
        let of = |name: &str| {
            let place = Place::of(name.as_bytes()).unwrap();
            Whiteout::of(&place).map(|whiteout| whiteout.map(|whiteout| format!("{whiteout:?}")))
        };
        for name in [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.a/b"] {
            assert_eq!(of(name), Err(Refusal::BadWhiteout), "{name}");
        }
        for name in [".wh..wh.aufs", ".wh..wh.plnk/1.2", "a/.wh..wh.orph"] {
            assert_eq!(of(name), Ok(Some("Ignore".to_owned())), "{name}");
        }
        assert_eq!(of("a/.wh..wh..opq"), Ok(Some("Opaque".to_owned())));
        assert_eq!(of("a/wh.b"), Ok(None));
        assert!(of("a/.wh..b").unwrap().is_some_and(|text| text.starts_with("Remove")));
    }
}
