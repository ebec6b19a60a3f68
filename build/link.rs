//! Has the linker lay the code of a request together (`hot.ld`), in a release for Linux.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "this is how cargo and a build script talk")]

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build");
    let is = |name, value: &str| env::var(name).is_ok_and(|is| is == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("PROFILE", "release") && !is_linker_chosen() {
        let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bin=wxgate=-T");
        println!("cargo::rustc-link-arg-bin=wxgate={folder}/build/hot.ld");
    }
}

/// Whether somebody wants a linker other than the one that Rust brings or the system has. Not all of them read scripts, and a build that fails
/// for want of that would cost more than the script gains.
fn is_linker_chosen() -> bool {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    env::var_os("RUSTC_LINKER").is_some() || flags.contains("linker") || flags.contains("-fuse-ld")
}
