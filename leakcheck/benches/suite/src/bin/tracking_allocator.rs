//! The workloads under tracking-allocator: with a tracker that does nothing, and with the one that one would write
//! first, a concurrent map from address to size and stack.
//!
//! The crate does not call the tracker for what the tracker itself allocates.

use backtrace::Backtrace;
use dashmap::DashMap;
use leakcheck_suite::child::{self, Facts, Recording};
use std::process::ExitCode;
use std::sync::Arc;
use tracking_allocator::{AllocationGroupId, AllocationRegistry, AllocationTracker, Allocator};

#[global_allocator]
static ALLOC: Allocator<std::alloc::System> = Allocator::system();

struct Nothing;

impl AllocationTracker for Nothing {
    fn allocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId) {}

    fn deallocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId, _: AllocationGroupId) {}
}

/// Live blocks by address: size and stack.
type Live = DashMap<usize, (usize, Backtrace)>;

struct Stacks(Arc<Live>);

impl AllocationTracker for Stacks {
    fn allocated(&self, address: usize, object_size: usize, _: usize, _: AllocationGroupId) {
        self.0.insert(address, (object_size, Backtrace::new_unresolved()));
    }

    fn deallocated(&self, address: usize, _: usize, _: usize, _: AllocationGroupId, _: AllocationGroupId) {
        self.0.remove(&address);
    }
}

struct Recorded(Option<Arc<Live>>);

impl Recording for Recorded {
    fn finish(self: Box<Self>) -> Facts {
        AllocationRegistry::disable_tracking();
        self.0.map(|live| ("live_blocks".to_owned(), live.len() as f64)).into_iter().collect()
    }
}

fn main() -> ExitCode {
    child::main(begin)
}

fn begin(mode: &str) -> Result<Box<dyn Recording>, String> {
    let live = (mode == "dashmap").then(|| Arc::new(Live::new()));
    let set = match &live {
        Some(live) => AllocationRegistry::set_global_tracker(Stacks(Arc::clone(live))),
        None => AllocationRegistry::set_global_tracker(Nothing),
    };
    set.map_err(|why| why.to_string())?;
    AllocationRegistry::enable_tracking();
    Ok(Box::new(Recorded(live)))
}
