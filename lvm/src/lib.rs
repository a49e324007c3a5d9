//! Typed calls to LVM's commands, for a tool that wants plain linear volumes and nothing else from LVM: to find what
//! is there, to make, grow and tag volumes, and to take away again only what carries its own tag.
//!
//! ```no_run
//! use lvm::{Bytes, LvId, Lvm, NewLv, NewPv, NewVg, Percent, Size, Tag};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lvm = Lvm::find()?;
//! let ours: Tag = "thinpool.pool=ci".parse()?;
//! let disk = std::path::Path::new("/dev/sdb");
//! lvm.pv_create(disk, &NewPv::default())?;
//! let data: LvId = "direct-lvm/data".parse()?;
//! lvm.vg_create(&data.vg, &[disk], &NewVg { tags: vec![ours.clone()], ..NewVg::default() })?;
//! let size = Size::PercentOfVg(Percent::new(80).ok_or("1 to 100")?);
//! lvm.lv_create(&data, &NewLv { tags: vec![ours.clone()], ..NewLv::of(size) })?;
//! lvm.lv_remove(&data, &ours)?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it talks to LVM
//!
//! - Through the one binary `lvm`, found once; LVM is GPL: it is run, never linked.
//! - Every call has an end: when its time is up, the command is asked to stop (LVM puts that off while it is changing
//!   something), and after a while made to. A command that changes something is also asked to stop when its caller dies.
//! - What LVM *says* is for people and is kept for them in errors. What *is*, is asked for in JSON, before and after:
//!   whether a group exists, a volume is in use, or an activation that "succeeded" did activate. A name that is gone is
//!   an empty report, not a message to be recognised.
//! - The administrator's `lvm.conf` holds: filters, the devices file (`pvcreate` enters new disks in it), locking, udev.
//!   Only how reports are written is overridden, because their reader depends on it.
//! - Nothing is answered with `--yes` that LVM asks for good reason. `pvcreate` and `vgremove` never get it, so that a
//!   signature or a volume which appeared a moment ago still stops them.
//!
//! # What it leaves out
//!
//! It installs no profile and no piece of `lvm.conf`: profiles steer LVM's own thin pools and caches (autoextension,
//! chunk sizes), and of these there are none here; linear volumes have nothing to be extended by dmeventd, and LVM
//! doesn't look for physical volumes inside of volumes (`scan_lvs=0`) unless told to.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod amounts;
mod change;
mod device;
mod error;
mod names;
mod parent;
mod query;
mod report;
mod run;
mod signatures;
mod tool;
mod uuid;
mod version;

pub use amounts::{Bytes, Extents, Percent, Size};
pub use change::{NewLv, NewPv, NewVg, OldContent};
pub use error::{LvmError, NotInstalled, Refusal};
pub use names::{LvId, LvName, NameError, Tag, VgName};
pub use report::{Lv, LvHealth, Pv, ReportError, Vg};
pub use run::{End, Failed, RunError, run, run_with_input};
pub use signatures::{Signature, Wipefs};
pub use tool::{Lvm, find_tool};
pub use uuid::{LvUuid, PvUuid, UuidError, VgUuid};
pub use version::{Version, VersionError};
