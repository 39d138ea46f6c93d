//! The recorder: what runs inside the watched program.

mod allocator;
mod api;
mod config;

pub use allocator::Leakcheck;
pub use api::{Recorder, Recording, ScopeGuard, checkpoint, iteration, scope, snapshot};
pub use config::{RecordError, RecorderBuilder};
