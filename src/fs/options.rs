//! Mount options as people write them (`noatime,discard`), sorted into what the mount has and what its file
//! system is told.

use rustix::mount::MountAttrFlags;
use thiserror::Error;

/// The options of one mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// What the mount itself has.
    pub(super) attributes: MountAttrFlags,
    /// Whether nothing may be written.
    pub(super) read_only: bool,
    /// What the file system is told: a key, and a value if there is one.
    pub(super) parameters: Vec<(String, Option<String>)>,
    /// How often XFS retries metadata writes that find no space.
    pub(super) xfs_nospace_retries: Option<u32>,
    /// Whether the device reads as zeroes wherever nobody has written.
    pub(super) reads_as_zeroes: bool,
    /// Whether other mount namespaces get the mount, where what it is made in is shared with them.
    pub(super) propagates: bool,
}

/// An option that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionError {
    /// It is none, or none of ours.
    #[error("'{0}' is not a mount option")]
    Unknown(String),
    /// mount(8) knows it, and here it would mean something else.
    #[error("the mount option '{option}' has no meaning here: {why}")]
    Refused {
        /// The option.
        option: String,
        /// Why not.
        why: &'static str,
    },
}

impl Default for MountOptions {
    /// Device nodes inside have no meaning to the host: a container's root file system must not be a way to the
    /// host's disks.
    fn default() -> Self {
        Self {
            attributes: MountAttrFlags::MOUNT_ATTR_NODEV,
            read_only: false,
            parameters: Vec::new(),
            xfs_nospace_retries: None,
            reads_as_zeroes: false,
            propagates: false,
        }
    }
}

impl MountOptions {
    /// Options for a mount of our own, whose content is of no use to anybody if it can't be finished: on a full pool
    /// XFS gives up at once, where by default it would retry for ever, and we would hang.
    #[must_use]
    pub fn disposable() -> Self {
        Self::default().with_xfs_nospace_retries(Some(0))
    }

    /// Options for a mount that is only read: nothing in the device changes, not even times of access.
    #[must_use]
    pub fn reading() -> Self {
        Self { read_only: true, ..Self::default() }
    }

    /// The same options without times of access, which reading a file would write.
    #[must_use]
    pub fn without_access_times(mut self) -> Self {
        self.attributes.remove(MountAttrFlags::MOUNT_ATTR__ATIME);
        self.attributes |= MountAttrFlags::MOUNT_ATTR_NOATIME;
        self
    }

    /// The same options with XFS retrying metadata writes that find no space so often; `None` leaves it to the kernel,
    /// which retries for ever.
    #[must_use]
    pub fn with_xfs_nospace_retries(self, retries: Option<u32>) -> Self {
        Self { xfs_nospace_retries: retries, ..self }
    }

    /// The same options on a device that reads as zeroes wherever nobody has written, also beside what was written in the same
    /// block, as one of a pool does that zeroes new blocks: ext4 has nothing to zero there.
    #[must_use]
    pub fn where_unwritten_is_zero(self, reads_as_zeroes: bool) -> Self {
        Self { reads_as_zeroes, ..self }
    }

    /// The same options, with nothing to be written.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// What of the options can hold for one more mount of a file system that is mounted already: the mount's own. What the
    /// file system was told stays as it is.
    #[must_use]
    pub(crate) fn of_one_more_mount(mut self, file_system_read_only: bool) -> Self {
        if self.read_only {
            self.attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        Self { read_only: file_system_read_only, parameters: Vec::new(), xfs_nospace_retries: None, ..self }
    }

    /// Whether the file system is to be read-only, by way of whichever mount.
    #[must_use]
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Reads options, each alone or several joined by commas.
    pub fn parse<S: AsRef<str>>(options: &[S]) -> Result<Self, OptionError> {
        let mut parsed = Self::default();
        for option in options.iter().flat_map(|option| option.as_ref().split(',')) {
            parsed.add(option.trim())?;
        }
        Ok(parsed)
    }

    fn add(&mut self, option: &str) -> Result<(), OptionError> {
        let one = |flag| (flag, true);
        let (flag, on) = match option {
            "ro" => {
                self.read_only = true;
                return Ok(());
            }
            "rw" => {
                self.read_only = false;
                return Ok(());
            }
            "defaults" => return Ok(()),
            "private" => {
                self.propagates = false;
                return Ok(());
            }
            "shared" => {
                self.propagates = true;
                return Ok(());
            }
            "nodev" => one(MountAttrFlags::MOUNT_ATTR_NODEV),
            "dev" => (MountAttrFlags::MOUNT_ATTR_NODEV, false),
            "nosuid" => one(MountAttrFlags::MOUNT_ATTR_NOSUID),
            "suid" => (MountAttrFlags::MOUNT_ATTR_NOSUID, false),
            "noexec" => one(MountAttrFlags::MOUNT_ATTR_NOEXEC),
            "exec" => (MountAttrFlags::MOUNT_ATTR_NOEXEC, false),
            "nodiratime" => one(MountAttrFlags::MOUNT_ATTR_NODIRATIME),
            "relatime" => (MountAttrFlags::MOUNT_ATTR__ATIME, false),
            "noatime" => {
                self.attributes.remove(MountAttrFlags::MOUNT_ATTR__ATIME);
                one(MountAttrFlags::MOUNT_ATTR_NOATIME)
            }
            "strictatime" => {
                self.attributes.remove(MountAttrFlags::MOUNT_ATTR__ATIME);
                one(MountAttrFlags::MOUNT_ATTR_STRICTATIME)
            }
            _ => return self.add_parameter(option),
        };
        self.attributes.set(flag, on);
        Ok(())
    }

    fn add_parameter(&mut self, option: &str) -> Result<(), OptionError> {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (option, None),
        };
        if key.is_empty() || option.contains(['\0', '\n']) {
            return Err(OptionError::Unknown(option.to_owned()));
        }
        if let Some(why) = refusal(key) {
            return Err(OptionError::Refused { option: option.to_owned(), why });
        }
        self.parameters.push((key.to_owned(), value));
        Ok(())
    }
}

/// Why an option of mount(8)'s is not one of a container's mount. The kernel would only say that it doesn't know it.
fn refusal(key: &str) -> Option<&'static str> {
    match key {
        "remount" => Some("unmount the container, and mount it again"),
        "bind" | "rbind" | "move" => Some("what is mounted is the container's own device"),
        "loop" | "offset" | "sizelimit" => Some("a container is a device already"),
        "auto" | "noauto" | "user" | "nouser" | "users" | "owner" | "group" | "nofail" | "_netdev" => {
            Some("it is for lines in fstab")
        }
        "slave" | "unbindable" | "rprivate" | "rshared" | "rslave" => {
            Some("a mount is private, or, with -o shared, as what it is made in")
        }
        key if key.starts_with("x-") || key.starts_with("X-") => Some("it is for lines in fstab"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_get_no_device_nodes_unless_asked() {
        let nodev = MountAttrFlags::MOUNT_ATTR_NODEV;
        assert!(MountOptions::parse(&["noatime"]).expect("good").attributes.contains(nodev));
        assert!(!MountOptions::parse(&["dev"]).expect("good").attributes.contains(nodev));
    }

    #[test]
    fn an_option_that_means_something_else_here_is_refused_with_the_reason() {
        for option in ["remount", "bind", "loop", "noauto", "x-systemd.automount", "rslave"] {
            let error = MountOptions::parse(&[option]).expect_err(option).to_string();
            assert!(error.contains(option) && error.contains("no meaning"), "{error}");
        }
    }

    #[test]
    fn one_more_mount_leaves_the_file_system_as_the_first_made_it() {
        let options = MountOptions::parse(&["ro,discard"]).expect("good").of_one_more_mount(false);
        assert!(options.parameters.is_empty() && !options.read_only);
        assert!(options.attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY));
    }

    #[test]
    fn options_for_the_file_system_reach_it_in_order() {
        let options = MountOptions::parse(&["ro,logbsize=256k", "discard"]).expect("good");
        assert!(options.read_only);
        assert_eq!(
            options.parameters,
            [("logbsize".to_owned(), Some("256k".to_owned())), ("discard".to_owned(), None)]
        );
        assert_eq!(MountOptions::parse(&["a,,b"]), Err(OptionError::Unknown(String::new())));
        assert_eq!(MountOptions::parse(&["=x"]), Err(OptionError::Unknown("=x".to_owned())));
    }
}
