//! How a debug build is linked: at a fixed address. Its 18,000 pointers would otherwise be written at every start, and where the
//! processor is emulated, as in the test machine, that is half of the time that a start takes. What is released stays as Rust
//! links it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
