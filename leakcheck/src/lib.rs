//! Memory-leak detection: a recording allocator, snapshots, and the analysis that says what leaks.

#[cfg(feature = "record")]
#[doc(hidden)]
pub mod unwind;
