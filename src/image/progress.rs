//! Tells how far an import got. The library only tells; showing it is the caller's business.

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// An image archive that can't be read in place (compressed, or from a pipe) goes to a temporary file.
    Spooling,
    /// Layers are unpacked.
    Unpacking,
}

/// Who wants to know how far it got.
pub trait Progress {
    /// A stage begins. It is done after `total` bytes of the source, if that is known.
    fn begin(&mut self, stage: Stage, total: Option<u64>);
    /// So many more bytes of the source are done.
    fn advance(&mut self, bytes: u64);
}

/// Nobody wants to know.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&mut self, _: Stage, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
}
