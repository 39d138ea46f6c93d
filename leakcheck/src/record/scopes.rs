//! Names of scopes.

use super::{hook, thread};
use dashmap::DashMap;
use std::marker::PhantomData;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Distinct scopes kept apart; allocations in later ones have no scope.
const SCOPES_MAX: u32 = 1 << 16;

/// Scope numbers by name. Used outside the hook only: a map with locks must never be reached from inside an allocation.
static NUMBERS: LazyLock<DashMap<Box<str>, u32>> = LazyLock::new(DashMap::new);
static NEXT: AtomicU32 = AtomicU32::new(1);

/// The number of a scope; 0, no scope, beyond the limit.
pub(super) fn number_of(name: &str) -> u32 {
    thread::internally(|| {
        if let Some(number) = NUMBERS.get(name) {
            return *number;
        }
        *NUMBERS.entry(name.into()).or_insert_with(|| {
            // Relaxed: the map's lock orders it.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            if number < SCOPES_MAX { number } else { 0 }
        })
    })
}

/// All scope names by number.
pub(super) fn names() -> Vec<(u32, String)> {
    NUMBERS.iter().map(|entry| (*entry.value(), entry.key().to_string())).collect()
}

/// Puts allocations of this thread under `name` until the guard is dropped. Scopes nest: the innermost one counts.
///
/// A scope belongs to the thread that began it. For work that moves between threads, as async tasks do, use groups
/// (feature `groups`). While nothing records, it does nothing; a scope begun before the recording is not seen.
///
/// ```
/// let order = {
///     let _scope = leakcheck::scope("parse orders");
///     String::from("42 apples")
/// };
/// # drop(order);
/// ```
pub fn scope(name: &str) -> ScopeGuard {
    let previous = if super::recording::is_running() { hook::set_scope(number_of(name)) } else { None };
    ScopeGuard { previous, on_this_thread: PhantomData }
}

/// Ends a scope when dropped, on the thread that began it.
#[derive(Debug)]
#[must_use = "the scope ends when the guard is dropped"]
pub struct ScopeGuard {
    previous: Option<u32>,
    on_this_thread: PhantomData<*const ()>,
}

impl Drop for ScopeGuard {
    fn drop(&mut self) {
        if let Some(previous) = self.previous {
            hook::set_scope(previous);
        }
    }
}
