//! The binary: everything is in the library.

use std::process::ExitCode;

/// Gives memory back to the kernel and takes no lock between workers, which the system's allocator does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    wxgate::cli::run()
}
