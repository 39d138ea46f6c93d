//! What recording costs: the workloads, and the process that runs one of them under one allocator.
//!
//! Every binary in `src/bin/` is the same program with another global allocator; `src/main.rs` starts them in turn and
//! compares. Nothing here knows a recorder: that is what a [`child::Recording`] is for.

pub mod chance;
pub mod child;
pub mod clock;
pub mod parameters;
pub mod resident;
pub mod workload;
