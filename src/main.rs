//! The command line starts here; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    milvus_rebalancer::cli::main()
}
