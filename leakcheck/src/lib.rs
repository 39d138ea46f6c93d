//! Memory-leak detection: a recording allocator, snapshots, and the analysis that says what leaks.

pub mod analysis;
pub mod format;
pub mod model;
#[cfg(feature = "record")]
mod record;
#[cfg(feature = "record")]
mod symbolize;
#[cfg(feature = "record")]
#[doc(hidden)]
pub mod unwind;

#[cfg(feature = "groups")]
pub use record::groups;
#[cfg(feature = "record")]
pub use record::{
    AllocatorStatistics, Leakcheck, RecordError, Recorder, RecorderBuilder, Recording, ScopeGuard, checkpoint,
    iteration, scope, snapshot,
};
