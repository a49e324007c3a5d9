//! Settings: one registry of them, from which the file, the flags, Docker's `--storage-opt`, `config show`,
//! the sample file and the documentation all come, so that none of them can drift from the others.
//!
//! A flag beats a storage-opt, that beats the file, and that beats the default. Every value knows which of them
//! it came from, so that a second `setup` compares only what somebody asked for.
//!
//! ```
//! use thinpool::config::{ConfigFile, Inputs, Settings};
//!
//! let inputs = Inputs {
//!     storage_opts: vec!["dm.basesize=20G".to_owned()],
//!     file: ConfigFile::Ignored,
//!     ..Inputs::default()
//! };
//! let settings = Settings::load(&inputs)?;
//! assert_eq!(settings.base_size.get().to_string(), "20 GiB");
//! assert_eq!(settings.base_size.source().to_string(), "storage-opt dm.basesize");
//! assert_eq!(settings.block_size.explicit(), None);
//! # Ok::<(), thinpool::config::ConfigError>(())
//! ```

mod error;
mod file;
mod registry;
mod sample;
mod settings;
mod source;
mod storage_opt;
mod value;

pub use error::ConfigError;
pub use registry::{SETTINGS, Setting, Settings};
pub use sample::{sample_file, settings_table};
pub use settings::{ConfigFile, DEFAULT_FILE, Effective, Flag, Inputs};
pub use source::{Place, Source, Sourced};
pub use value::{
    AbsolutePath, AutoBool, Backups, DevicePath, DevicePaths, FsChoice, LogLevel, LoopDir, MetricsListen,
    MinFreeSpace, MkfsArgs, MountOptions, PoolDevice, Share, Timeout, Transactions, VolumeGroup, WhenFull,
};
