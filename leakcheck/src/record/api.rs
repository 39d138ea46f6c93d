//! What a program calls.

use super::{RecordError, RecorderBuilder};
use crate::model::Snapshot;
use std::marker::PhantomData;

/// Entry point to recordings.
#[derive(Debug)]
pub struct Recorder;

impl Recorder {
    /// Options for a recording; `start` begins it.
    #[must_use]
    pub fn builder() -> RecorderBuilder {
        RecorderBuilder::default()
    }
}

/// A running recording. Dropping it writes the last snapshot and ends it.
#[derive(Debug)]
pub struct Recording(());

impl Recording {
    pub(super) fn begin(_options: RecorderBuilder) -> Result<Self, RecordError> {
        Ok(Self(()))
    }
}

/// Takes a snapshot now, writes it when the recording has a folder, and returns it.
///
/// # Errors
///
/// When nothing records, or the snapshot cannot be written.
pub fn snapshot() -> Result<Snapshot, RecordError> {
    Err(RecordError { text: "take a snapshot: no recording is running".into() })
}

/// Takes a snapshot with a name. Without a recording it does nothing.
pub fn checkpoint(_name: &str) {}

/// Marks one turn of the program's main loop (a request, a frame, a batch). Costs one addition.
pub fn iteration() {}

/// Puts allocations of this thread under `name` until the guard is dropped. Guards nest.
pub fn scope(_name: &str) -> ScopeGuard {
    ScopeGuard { on_this_thread: PhantomData }
}

/// Ends a scope when dropped, on the thread that began it.
#[derive(Debug)]
pub struct ScopeGuard {
    on_this_thread: PhantomData<*const ()>,
}
