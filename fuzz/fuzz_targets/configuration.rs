//! Settings: the file, Docker's options, sizes and names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thinpool::config::{ConfigFile, Inputs, Settings};
use thinpool::pool::{ContainerName, ImageName};
use thinpool::units::{Bytes, PoolName};

fuzz_target!(|text: &str| {
    drop(text.parse::<Bytes>());
    drop(text.parse::<PoolName>());
    drop(text.parse::<ContainerName>());
    drop(text.parse::<ImageName>());
    let storage_opts = text.lines().map(str::to_owned).collect();
    drop(Settings::load(&Inputs { flags: Vec::new(), storage_opts, file: ConfigFile::Ignored }));
    let file = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file in memory");
    std::fs::write(file.path(), text).expect("written");
    let file = ConfigFile::Named(file.path().to_owned());
    drop(Settings::load(&Inputs { flags: Vec::new(), storage_opts: Vec::new(), file }));
});
