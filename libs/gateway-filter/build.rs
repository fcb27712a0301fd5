//! Links libgcc into libarks.so: Envoy's distroless image has glibc, but no libgcc_s.so.1.
//!
//! Rust's standard library names `-lgcc_s`. A linker script of that name, in a directory that is searched first, stands
//! for the static library with the same unwinder.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu") {
        return Ok(());
    }
    let Some(directory) = env::var_os("OUT_DIR") else {
        return Err(io::Error::other("cargo sets OUT_DIR"));
    };
    let directory = Path::new(&directory);
    fs::write(directory.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n")?;
    println!("cargo::rustc-link-arg-cdylib=-L{}", directory.display());
    Ok(())
}
