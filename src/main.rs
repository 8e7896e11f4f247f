//! The command line starts here; everything else is in the library.

fn main() {}
