//! Images from archives and directories, and archives from images: each layer is a thin snapshot of the layer below it.
//!
//! What a user points at is [`open`]ed, which finds out by its content what it is, and [`import`]ed into a
//! [`LayerStore`]. All of it is untrusted: an archive can't make anything outside the root of its layer, nor take more
//! than a fixed amount of memory, and what is damaged is refused and leaves nothing behind.
//!
//! ```text
//! source ── oci, docker_save, directory     what is it, and which layers are in it
//!   └ members, section                      the files of an image archive, read in place
//! import ── pump ── decompress, digest      a thread reads, decompresses and hashes a layer
//!   └ unpack ── tar_reader, pax, sparse     another applies it, entry by entry
//!       └ resolve, remove, metadata, …      relative to a descriptor of the root, never by path
//!
//! commit, export                            a container becomes a layer, an image an archive
//!   └ layer_tar ── tar_writer               the archive of a layer, made anew
//!       └ difference                        from how its tree differs from the one below
//! config, change, history                   what an image says of itself
//! ```

mod change;
mod commit;
mod config;
mod decompress;
mod difference;
mod digest;
mod dir_times;
mod directory;
mod docker_save;
mod error;
mod export;
mod history;
mod import;
mod inodes;
mod layer_tar;
mod members;
mod metadata;
mod oci;
mod pax;
mod progress;
mod pump;
mod remove;
mod resolve;
mod section;
mod source;
mod sparse;
mod store;
mod tar_reader;
mod tar_writer;
#[cfg(test)]
mod testing;
mod unpack;
mod whiteout;

pub use change::{ChangeError, ConfigChange};
pub use commit::{Commit, CommitError, commit, container_changes};
pub use config::{ConfigError, HistoryEntry, ImageConfig, from_rfc3339, rfc3339};
pub use difference::{FileChange, FileChangeKind, changes};
pub use digest::{ChainId, DiffId, Digest, DigestError};
pub use error::{ArchiveError, EntryName, Refusal, SourceError, UnpackError};
pub use export::{Destination, ExportError, Exported, LayerCompression, export};
pub use history::{Step, history};
pub use import::{ImportError, ImportedImage, LayerDraft, LayerRecord, LayerStore, import};
pub use layer_tar::{LayerDifference, Written};
pub use progress::{NoProgress, Progress, Stage};
pub use source::{Config, Format, Image, Input, Layer, OpenOptions, open};
pub use store::{AddError, add};
pub use unpack::{LayerKind, UnpackOptions, Unpacked, unpack};
