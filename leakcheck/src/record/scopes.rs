//! Names of scopes.

use super::trials::Inside;
use super::{hook, recording, thread, trial_words};
use dashmap::DashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

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
/// A scope belongs to the thread that began it. For a future, which may move between threads, there is [`in_scope`]; for
/// `tracing` spans there are groups (feature `groups`). While nothing records, it does nothing; a scope begun before the recording is not seen.
///
/// ```
/// let order = {
///     let _scope = leakcheck::scope("parse orders");
///     String::from("42 apples")
/// };
/// # drop(order);
/// ```
pub fn scope(name: &str) -> ScopeGuard {
    let previous = if recording::is_running() { hook::set_scope(number_of(name)) } else { None };
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

/// Puts allocations under `name` while the future is polled, on whichever thread that is. What it spawns is not in the
/// scope, unless it is wrapped as well.
///
/// ```
/// # async fn answer() {}
/// let task = leakcheck::in_scope("answer", answer());
/// # drop(task);
/// ```
pub fn in_scope<F: Future>(name: &str, future: F) -> InScope<F> {
    let scope = if recording::is_running() { number_of(name) } else { 0 };
    InScope { scope, future }
}

/// Puts allocations under the scope that the calling thread is in now, while the future is polled: for tasks that are
/// spawned to other threads. In a test, the scope may be that of an assertion (see [`testing`](crate::testing)).
///
/// ```
/// # async fn answer() {}
/// # fn spawn<F: Future + Send + 'static>(_: F) {}
/// spawn(leakcheck::in_this_scope(answer()));
/// ```
pub fn in_this_scope<F: Future>(future: F) -> InScope<F> {
    InScope { scope: thread::state_of_caller().map_or(0, thread::ThreadState::scope), future }
}

/// A future whose allocations are in a scope; [`in_scope`] and [`in_this_scope`] make it.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct InScope<F> {
    scope: u32,
    future: F,
}

impl<F: Future> Future for InScope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let scope = self.scope;
        // SAFETY: the future is pinned with `self`, is never moved out of it, and `self` has no destructor of its own.
        let future = unsafe { self.map_unchecked_mut(|this| &mut this.future) };
        let _trial = trial_words::running(scope).map(Inside::of);
        let named = scope != 0 && !trial_words::is_trial(scope);
        let previous = if named { hook::set_scope(scope) } else { None };
        let _scope = ScopeGuard { previous, on_this_thread: PhantomData };
        future.poll(context)
    }
}
