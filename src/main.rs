//! The command `thinpool`: parses, calls the library, prints, and picks the exit code.

fn main() {}
