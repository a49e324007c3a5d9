//! Any file as an image: what it is, which layers it has, and what is in them.
#![no_main]

mod scratch;

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use thinpool::image::{
    ChainId, Input, LayerDraft, LayerRecord, LayerStore, NoProgress, OpenOptions, import, open,
};

use scratch::Scratch;

/// A store of one layer.
#[derive(Clone)]
struct OneDirectory(PathBuf);

impl LayerStore for OneDirectory {
    type Error = Infallible;
    type Draft = Self;

    fn contains(&self, _: &ChainId) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn draft(&self, _: Option<&ChainId>) -> Result<Self, Infallible> {
        Ok(self.clone())
    }
}

impl LayerDraft for OneDirectory {
    type Error = Infallible;

    fn root(&self) -> &Path {
        &self.0
    }

    fn commit(self, _: &LayerRecord) -> Result<(), Infallible> {
        Ok(())
    }

    fn discard(self) -> Result<(), Infallible> {
        Ok(())
    }
}

fuzz_target!(|archive: &[u8]| {
    let scratch = Scratch::new();
    let (file, spool_dir) = (scratch.path("archive"), scratch.path("spool"));
    std::fs::write(&file, archive).expect("written");
    let options = OpenOptions { reference: None, spool_dir: spool_dir.clone() };
    if let Ok(image) = open(Input::Path(file), &options, &mut NoProgress) {
        // It may be refused; it may not panic, hang or get out.
        drop(import(image, &OneDirectory(scratch.path("root")), &spool_dir, &mut NoProgress));
    }
    scratch.assert_nothing_outside();
});
