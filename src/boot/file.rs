//! Files of other programs' configuration, whole or not at all.

use std::io::ErrorKind;
use std::path::Path;

use super::BootError;
use crate::files;

/// Writes a file, unless it is like that already. Whoever reads it meanwhile sees the old one or the new one.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), BootError> {
    if std::fs::read(path).is_ok_and(|now| now == text.as_bytes()) {
        return Ok(());
    }
    let error = |source| BootError::File { action: "write", path: path.to_owned(), source };
    files::make_directory(files::directory_of(path), 0o755).map_err(error)?;
    files::put(path, text).map_err(error)
}

/// Removes a file that may be gone, and its directory if that is one unit's and holds nothing else.
pub(super) fn remove(path: &Path) -> Result<(), BootError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        |source| BootError::File { action: "remove", path, source }
    };
    for path in [path, &files::passing_name(path)] {
        files::remove_if_there(path).map_err(error(path))?;
    }
    match path.parent().filter(|directory| directory.to_string_lossy().ends_with(".service.d")) {
        Some(directory) => match files::remove_directory(directory) {
            // An administrator's own drop-in stays.
            Err(source) if matches!(source.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => {
                Ok(())
            }
            removed => removed.map_err(error(directory)),
        },
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_whole_and_an_administrators_own_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("unit.service.d/backing.conf");
        for text in ["one", "two", "two"] {
            replace(&path, text).expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
        let own = path.with_file_name("own.conf");
        std::fs::write(&own, "").expect("written");
        for _ in 0..2 {
            remove(&path).expect("removed");
            assert!(own.exists() && !path.exists());
        }
        std::fs::remove_file(&own).expect("removed");
        remove(&path).expect("removed");
        assert_eq!(directory.path().read_dir().expect("listed").count(), 0);
    }
}
