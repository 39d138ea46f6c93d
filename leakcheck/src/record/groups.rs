//! tracking-allocator's groups as scopes.
//!
//! A group follows a `tracing` span from thread to thread, which a [`scope`](crate::scope) cannot. The allocators
//! compose with tracking-allocator's outermost:
//!
//! ```
//! use leakcheck::Leakcheck;
//! use tracking_allocator::Allocator;
//!
//! #[global_allocator]
//! static ALLOC: Allocator<Leakcheck> = Allocator::from_allocator(Leakcheck::system());
//! # fn main() {}
//! ```
//!
//! tracking-allocator calls its tracker after the block was allocated and recorded, so the adapter moves the block from
//! its site to the same stack in the group's scope. Sizes then include tracking-allocator's own header (8 bytes, more
//! for larger alignments), and its allocator turns `realloc` into allocate, copy and free, and `alloc_zeroed` into
//! allocate and clear: that is its doing, and what it costs.

use super::{hook, scopes, thread};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use tracking_allocator::{AllocationGroupId, AllocationGroupToken, AllocationRegistry, AllocationTracker};

/// Groups that can be told apart; blocks of later ones keep the scope of their thread.
const GROUPS_MAX: usize = 1 << 16;

/// The scope of each group. Read inside allocations, so it must not be behind a lock.
static SCOPE_OF_GROUP: [AtomicU32; GROUPS_MAX] = [const { AtomicU32::new(0) }; GROUPS_MAX];

struct ScopeTracker;

impl AllocationTracker for ScopeTracker {
    fn allocated(&self, address: usize, _: usize, _: usize, group: AllocationGroupId) {
        if let Some(scope) = SCOPE_OF_GROUP.get(group.as_usize().get()) {
            // Relaxed: the group was named before it was entered, on this thread or before it was handed to it.
            let scope = scope.load(Ordering::Relaxed);
            if scope != 0 {
                hook::rescope_last_block(address, scope);
            }
        }
    }

    fn deallocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId, _: AllocationGroupId) {
        // The block's tail has told the recorder already, before the memory went back.
    }
}

/// tracking-allocator has another tracker already.
#[derive(Debug)]
pub struct TrackerTaken;

impl fmt::Display for TrackerTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tracking-allocator has a tracker already; it can have only one in the life of a process")
    }
}

impl std::error::Error for TrackerTaken {}

/// Makes leakcheck the tracker of tracking-allocator and turns tracking on.
///
/// # Errors
///
/// When the program has set another tracker.
pub fn install() -> Result<(), TrackerTaken> {
    thread::internally(|| AllocationRegistry::set_global_tracker(ScopeTracker)).map_err(|_| TrackerTaken)?;
    AllocationRegistry::enable_tracking();
    Ok(())
}

/// A new group whose allocations are reported in the scope `name`. Enter it with its own `enter`, or attach it to a
/// `tracing` span (with tracking-allocator's `AllocationLayer` in the subscriber). Groups of one name share a scope.
///
/// `None` when tracking-allocator has no more groups.
#[must_use]
pub fn group(name: &str) -> Option<AllocationGroupToken> {
    let token = AllocationGroupToken::register()?;
    if let Some(scope) = SCOPE_OF_GROUP.get(token.id().as_usize().get()) {
        scope.store(scopes::number_of(name), Ordering::Relaxed);
    }
    Some(token)
}
