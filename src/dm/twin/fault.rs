//! What can be made to go wrong.

use nix::errno::Errno;

/// A state of a pool that tests can bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injection {
    /// A commit failed: the pool is read-only and wants its metadata checked, and keeps wanting it.
    NeedsCheck,
    /// The metadata can't be used at all.
    Fail,
    /// The metadata device has no free block.
    OutOfMetadata,
    /// The next message is answered with success, but its commit fails: nothing of it happened, and the pool is
    /// as after [`Injection::NeedsCheck`].
    NextCommitFails,
}

/// A fault that waits for its ioctl.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Changing ioctls made so far.
    pub(super) made: u64,
    refuse: Option<(u64, Errno)>,
    die: Option<u64>,
    dead: bool,
}

impl Faults {
    pub(super) fn refuse_at(&mut self, ioctl: u64, errno: Errno) {
        self.refuse = Some((self.made + ioctl, errno));
    }

    pub(super) fn die_at(&mut self, ioctl: u64) {
        self.die = Some(self.made + ioctl);
    }

    pub(super) fn revive(&mut self) {
        (self.die, self.dead) = (None, false);
    }

    /// Before each ioctl that only reads.
    pub(super) fn read(&self) -> Result<(), Errno> {
        if self.dead || steps::is_dead() { Err(Errno::EOWNERDEAD) } else { Ok(()) }
    }

    /// Before each ioctl that changes something.
    pub(super) fn change(&mut self) -> Result<(), Errno> {
        self.read()?;
        steps::during(format_args!("an ioctl of the twin"));
        self.made += 1;
        if self.die == Some(self.made) {
            self.dead = true;
            return Err(Errno::EOWNERDEAD);
        }
        match self.refuse {
            Some((ioctl, errno)) if ioctl == self.made => {
                self.refuse = None;
                Err(errno)
            }
            _ => Ok(()),
        }
    }
}
