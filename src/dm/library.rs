//! The version of the libdevmapper that is installed.
//!
//! This project speaks to the kernel itself, but udev's rules call `dmsetup`, and `docker info` taught people to
//! look for this row. The library is opened only when somebody asks, so that no command pays for loading it.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};

/// As libdevmapper says it itself: `1.02.185 (2022-05-18)`. `None` where it isn't installed.
pub(super) fn version() -> Option<String> {
    type GetLibraryVersion = unsafe extern "C" fn(version: *mut c_char, size: usize) -> c_int;
    // SAFETY: libdevmapper's constructors only set up its own memory; nothing of ours depends on their order.
    let library = unsafe { libloading::Library::new("libdevmapper.so.1.02.1") }.ok()?;
    // SAFETY: the type is the function's prototype in libdevmapper.h, unchanged since 1.02.
    let get = unsafe { library.get::<GetLibraryVersion>(b"dm_get_library_version\0") }.ok()?;
    let mut text: [c_char; 64] = [0; 64];
    // SAFETY: the buffer is writable for the size given, and the library stays loaded until after the call.
    if unsafe { get(text.as_mut_ptr(), text.len()) } == 0 {
        return None;
    }
    // SAFETY: the buffer was zeroed and the function writes a NUL-terminated text within its size.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    text.to_str().ok().map(str::to_owned)
}
