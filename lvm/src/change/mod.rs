//! Changes. Each looks again afterwards, and when LVM refuses, finds out why by looking.

mod lv;
mod pv;
mod vg;

pub use lv::{NewLv, OldContent};
pub use pv::NewPv;
pub use vg::NewVg;

use crate::error::{LvmError, Refusal};
use crate::names::{Tag, VgName};
use crate::tool::Lvm;

/// An option before each of the tags.
fn with_option<'a>(option: &'a str, tags: &'a [Tag]) -> impl Iterator<Item = &'a str> {
    tags.iter().flat_map(move |tag| [option, tag.as_str()])
}

impl Lvm {
    /// What is wrong with a group that refuses changes.
    fn trouble_of_vg(&self, name: &VgName) -> Result<Option<Refusal>, LvmError> {
        let missing = match self.find_vg(name)? {
            None => return Ok(Some(Refusal::NoVg { vg: name.clone() })),
            Some(vg) => vg.missing_pv_count,
        };
        Ok((missing > 0).then(|| Refusal::MissingDisks { vg: name.clone(), missing }))
    }
}
