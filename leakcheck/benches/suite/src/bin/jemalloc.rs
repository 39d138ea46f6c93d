//! The workloads under jemalloc. Its environment says whether it samples stacks, and how many.

use leakcheck_suite::child::{self, Unrecorded};
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOC: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    child::main(|_| Ok(Box::new(Unrecorded)))
}
