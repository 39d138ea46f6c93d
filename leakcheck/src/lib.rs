//! Memory-leak detection: a recording allocator, snapshots, and the analysis that says what leaks.

pub mod analysis;
pub mod cgroup;
pub mod control;
pub mod format;
pub mod model;
#[cfg(feature = "record")]
mod record;
#[cfg(feature = "record")]
mod symbolize;
#[cfg(feature = "record")]
pub mod testing;
#[cfg(feature = "record")]
#[doc(hidden)]
pub mod unwind;

#[cfg(feature = "groups")]
pub use record::groups;
#[cfg(feature = "record")]
pub use record::{
    AllocatorStatistics, InScope, Leakcheck, RecordError, Recorder, RecorderBuilder, Recording, ScopeGuard, checkpoint,
    in_scope, in_this_scope, iteration, scope, snapshot,
};
