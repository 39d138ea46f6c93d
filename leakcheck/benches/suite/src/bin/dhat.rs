//! The workloads under dhat-rs as it comes: every block, stacks of up to ten frames.
//!
//! Its testing mode records the same and leaves out the file at the end, which is not part of what is measured.

use leakcheck_suite::child::{self, Facts, Recording};
use std::process::ExitCode;

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

struct Recorded {
    /// Ends the recording when it is dropped.
    _profiler: dhat::Profiler,
}

impl Recording for Recorded {
    fn finish(self: Box<Self>) -> Facts {
        vec![("recorded_blocks".into(), dhat::HeapStats::get().total_blocks as f64)]
    }
}

fn main() -> ExitCode {
    child::main(|_| Ok(Box::new(Recorded { _profiler: dhat::Profiler::builder().testing().build() })))
}
