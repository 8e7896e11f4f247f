//! Compiles `proto/` into the Milvus client and, for the simulated Milvus, the server, and into the client of policy
//! plug-ins. protox reads the files, so nobody needs an installed protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    for (proto, include) in [("milvus.proto", "milvus_wire.rs"), ("policy.proto", "policy_wire.rs")] {
        let files = protox::compile([proto], ["proto"])?;
        tonic_prost_build::configure()
            // Maps that are read in the same order on every run.
            .btree_map(".")
            // A call that a server does not define answers "unimplemented", as old versions of Milvus do.
            .generate_default_stubs(true)
            .include_file(include)
            .compile_fds(files)?;
    }
    Ok(())
}
