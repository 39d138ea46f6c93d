//! The workloads under heapscope as it comes, but for the file at the end. It needs frame pointers, and refuses
//! without.

use leakcheck_suite::child::{self, Facts, Recording};
use std::process::ExitCode;

#[global_allocator]
static ALLOC: heapscope::Alloc = heapscope::Alloc::system();

struct Recorded(heapscope::Profiler);

impl Recording for Recorded {
    fn finish(self: Box<Self>) -> Facts {
        vec![("recorded_blocks".into(), self.0.stats().total_blocks as f64)]
    }
}

fn main() -> ExitCode {
    child::main(|_| {
        let profiler = heapscope::Profiler::builder().no_output().build().map_err(|why| why.to_string())?;
        Ok(Box::new(Recorded(profiler)))
    })
}
