//! The workloads under the system allocator: what everything else is compared with.

use leakcheck_suite::child::{self, Unrecorded};
use std::process::ExitCode;

fn main() -> ExitCode {
    child::main(|_| Ok(Box::new(Unrecorded)))
}
