//! Leak assertions for tests.
//!
//! Make [`Leakcheck`](crate::Leakcheck) the global allocator of the test binary, and assert:
//!
//! ```
//! #[global_allocator]
//! static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
//!
//! # fn one_request() -> Vec<u8> { vec![0; 64] }
//! # fn main() {
//! leakcheck::assert_bounded!(|| one_request());
//! # }
//! ```
//!
//! | assertion | holds when |
//! |---|---|
//! | [`assert_bounded!`](crate::assert_bounded) | called again and again, the closure's memory stays within a bound |
//! | [`assert_no_leaks!`](crate::assert_no_leaks) | nothing that a second call allocates is left when it has returned |
//! | [`assert_live_bytes!`](crate::assert_live_bytes) | what is live when the closure has returned, its value included, is within a limit |
//! | [`assert_allocations!`](crate::assert_allocations) | the closure allocates so many blocks |
//!
//! The first two have twins for async closures, such as [`assert_bounded_async!`](crate::assert_bounded_async); for budgets there is
//! [`Measured::of_async`].
//!
//! A recording begins with the first assertion, unless the program has begun an exact one, and goes on to the end of the
//! process; it writes no files.
//!
//! # Whose blocks are judged
//!
//! Each assertion has a scope of its own: tests that run at the same time do not see each other's blocks, and a block may
//! be freed by any thread. In it are the blocks of
//!
//! * the thread that asserts, while the closure runs;
//! * threads that are started in it, at any depth, as long as the assertion runs;
//! * futures wrapped in [`in_this_scope`](crate::in_this_scope), wherever they are polled.
//!
//! Threads that were there before are not: a global pool of threads, or the workers of a runtime that was built before the
//! assertion, as `#[tokio::test(flavor = "multi_thread")]` does (spawned tasks run on them). What grows on such threads
//! is said, not judged. To have it judged, build the pool in the closure, wrap what is spawned in
//! [`in_this_scope`](crate::in_this_scope), or take in all threads with [`Bounded::all_threads`], which a test can do that
//! has the process to itself. Where each test is a process of its own (nextest), all threads are taken in anyway.
//!
//! An assertion within another one has a scope of its own, too: its blocks are not the outer one's. A
//! [`scope`](crate::scope) begun within an assertion has no effect.
//!
//! A thread is known to be started in the scope by the first block that it frees, which is one of the standard
//! library's own; toolchains in which [`std::thread`] does not do that (before 1.93) leave new threads outside. Threads
//! that C code starts are outside as well.
//!
//! # What it costs
//!
//! While a recording runs, every allocation of the process is recorded: see `docs/overhead.md`. A closure that leaves
//! nothing behind is called about a thousand times, which takes milliseconds where it is fast. Names are looked up only when
//! something has grown, once per place in the code; without optimisation that takes a second or two, of which
//! `[profile.dev.package."*"] opt-level = 1` saves most.

mod bounded;
mod macros;
mod measured;
mod message;
mod pace;
mod run;
mod verdict;

pub use bounded::Bounded;
pub use measured::{Measured, check_no_leaks, check_no_leaks_async};
