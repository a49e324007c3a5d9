//! Tells how far an import or an export got. The library only tells; showing it is the caller's business.

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// An image archive that can't be read in place (compressed, or from a pipe) goes to a temporary file.
    Spooling,
    /// Layers are unpacked.
    Unpacking,
    /// What changed in a container is made a layer.
    Committing,
    /// A layer is written to an archive.
    Packing {
        /// Which, counted from 1.
        layer: usize,
        /// Of how many.
        of: usize,
    },
}

/// Who wants to know how far it got.
pub trait Progress {
    /// A stage begins. It is done after `total` bytes, if that is known.
    fn begin(&mut self, stage: Stage, total: Option<u64>);
    /// So many more bytes are done.
    fn advance(&mut self, bytes: u64);
}

/// Nobody wants to know.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&mut self, _: Stage, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
}
