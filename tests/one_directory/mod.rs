//! A store of one layer, a directory: what an import does when the pool is left out of it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use thinpool::image::{
    ChainId, ImportedImage, Input, LayerDraft, LayerRecord, LayerStore, NoProgress, OpenOptions, import, open,
};

struct OneDirectory(PathBuf);

impl LayerStore for OneDirectory {
    type Error = Infallible;
    type Draft = OneDirectory;

    fn contains(&self, _: &ChainId) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn draft(&self, _: Option<&ChainId>) -> Result<Self, Infallible> {
        Ok(Self(self.0.clone()))
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

/// Imports an image into a directory.
pub fn import_to(source: &Path, root: &Path) -> ImportedImage {
    let options = OpenOptions { reference: None, spool_dir: std::env::temp_dir() };
    let image = open(Input::Path(source.to_owned()), &options, &mut NoProgress).unwrap();
    import(image, &OneDirectory(root.to_owned()), &options.spool_dir, &mut NoProgress).unwrap()
}
