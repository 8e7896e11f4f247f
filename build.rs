//! Compiles `proto/` into the Milvus client, for the simulated Milvus the server, and the etcd client. protox reads the
//! files, so nobody needs an installed protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["milvus.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // Maps that are read in the same order on every run.
        .btree_map(".")
        // A call that a server does not define answers "unimplemented", as old versions of Milvus do.
        .generate_default_stubs(true)
        .include_file("milvus_wire.rs")
        .compile_fds(files)?;
    let files = protox::compile(["etcd.proto"], ["proto"])?;
    tonic_prost_build::configure().build_server(false).include_file("etcd_wire.rs").compile_fds(files)?;
    Ok(())
}
