//! The recorder: what runs inside the watched program.
//!
//! A block's way: `allocator` (forwards, and asks whether to record) → `hook` (walks the stack, finds the cell, counts)
//! → `tail` and `byte_map` (so that its free finds the cell again). A snapshot's way: the clock thread (`recording`)
//! → `collect` (sums the counters of all threads) → the writer thread → `assemble` (stacks and names) → a file.
//!
//! Lock levels, outermost first; a lock is only taken below the ones held: `recording::CONTROL`, `trials::NAMES`, `trials::PLACES`, `old_threads::NOTED`,
//! the shards of `scopes::NUMBERS`, `scratch::LOOKING_UP_NOW`, the loader's lock (module lists). The hook takes none of them and no other lock; what it shares
//! is made of atomics: `sites`, `index`, `arena`, `byte_map`, `thread_names`, `trial_words`, `old_threads`, `counters`.

mod allocator;
mod arena;
mod assemble;
mod byte_map;
mod clock;
mod collect;
mod config;
mod control;
mod counters;
mod error;
mod generations;
#[cfg(feature = "groups")]
pub mod groups;
mod hook;
mod index;
mod kernel;
mod memory;
mod old_threads;
mod recording;
mod scopes;
mod scratch;
mod sites;
mod startup;
mod tail;
mod thread;
mod thread_names;
mod thread_stacks;
mod trial_words;
mod trials;
mod weight;
mod writer;

pub use allocator::Leakcheck;
pub use config::{AllocatorStatistics, RecorderBuilder};
pub use error::RecordError;
pub use recording::{Recorder, Recording, checkpoint, iteration, snapshot};
pub use scopes::{InScope, ScopeGuard, in_scope, in_this_scope, scope};
pub(crate) use trials::{Inside, Outside, Trial, Watched, aside};
