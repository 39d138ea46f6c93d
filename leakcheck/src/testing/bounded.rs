//! What `assert_bounded!` stands on: options, and the loop around the closure.

use super::pace::Wishes;
use super::run::Run;
use crate::record::{Inside, Trial};
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::panic::Location;
use std::pin::pin;
use std::time::Duration;

/// Calls a closure again and again, and panics when its memory does not stay within a bound.
///
/// [`assert_bounded!`](crate::assert_bounded) is the short form. The closure is called some times to warm up, and then in
/// *rounds* of a prime number of calls (so that what happens at every third or tenth call does not fall on their ends). After
/// each round the counters of the assertion's scope are looked at. When nothing has grown in the first rounds, that is all:
/// mostly about a thousand calls. Otherwise there are more and longer rounds, up to the budget of time, so that a cache
/// comes to its limit: what happened before is then warm-up. The series of looks, with calls for its clock, goes to the
/// analysis that the command `leakcheck check` uses, and its verdict decides:
///
/// * *bounded* passes;
/// * *leaking* panics, with the site, its growth per call, the evidence and what to do;
/// * *inconclusive* goes on for up to three budgets. Then it passes where the site holds no more than it did in the
///   second quarter of the run, and panics, saying so, where it holds more.
///
/// Leaks of which less than a block comes in a run are not seen: make more calls then. A cache that is larger than the calls
/// of one budget fill is called a leak, or inconclusive: make it smaller in the test, or warm up by filling it.
///
/// ```
/// # #[global_allocator]
/// # static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// # fn main() {
/// use leakcheck::testing::Bounded;
/// use std::time::Duration;
///
/// let mut last = String::new();
/// Bounded::new().budget(Duration::from_millis(500)).check(|| last = "a request".to_owned());
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Bounded {
    wishes: Wishes,
    warm_up: Option<u32>,
    all_threads: bool,
}

impl Default for Bounded {
    fn default() -> Self {
        Self::new()
    }
}

impl Bounded {
    /// With a budget of two seconds; rounds and calls follow from the time that calls take.
    #[must_use]
    pub const fn new() -> Self {
        let wishes = Wishes { rounds: None, calls: None, budget: Duration::from_secs(2) };
        Self { wishes, warm_up: None, all_threads: false }
    }

    /// Rounds of a phase: 32, or 24 where calls are slow, unless said otherwise. The analysis needs 10 at least.
    #[must_use]
    pub const fn rounds(mut self, rounds: u32) -> Self {
        self.wishes.rounds = Some(if rounds < 10 { 10 } else { rounds });
        self
    }

    /// Calls of each round, in all phases. A prime number is best.
    #[must_use]
    pub const fn calls_per_round(mut self, calls: u32) -> Self {
        self.wishes.calls = Some(if calls == 0 { 1 } else { calls });
        self
    }

    /// Calls before the first look: 16, fewer where calls are slow, unless said otherwise.
    #[must_use]
    pub const fn warm_up(mut self, calls: u32) -> Self {
        self.warm_up = Some(calls);
        self
    }

    /// How long to go on when something has grown. The first rounds are run whatever they take.
    #[must_use]
    pub const fn budget(mut self, budget: Duration) -> Self {
        self.wishes.budget = budget;
        self
    }

    /// Takes in the blocks of all threads that are in no scope, of the whole process: for a closure whose work is done by
    /// threads that were there before. The test must have the process to itself. Where each test is a process of its own
    /// (nextest says so in `NEXTEST_EXECUTION_MODE`), this is the default.
    #[must_use]
    pub const fn all_threads(mut self) -> Self {
        self.all_threads = true;
        self
    }

    /// Calls the closure until it is known whether its memory is bounded. What it returns is dropped at once.
    ///
    /// # Panics
    ///
    /// When it is not bounded, or that remains open; when [`Leakcheck`](crate::Leakcheck) is not the global allocator.
    #[track_caller]
    pub fn check<R>(&self, mut call: impl FnMut() -> R) {
        let outcome = self.begin(Location::caller()).and_then(|mut run| {
            while let Some(calls) = run.next_round() {
                let _inside = run.trial.enter();
                for _ in 0..calls {
                    drop(black_box(call()));
                }
            }
            run.finish()
        });
        if let Err(message) = outcome {
            panic!("{message}");
        }
    }

    /// The same for an async closure, or one that returns a future, on any runtime. Calls are made one after the other.
    ///
    /// The scope stays on the thread between polls, so on a current-thread runtime what the closure spawns is judged, too.
    /// Await it in the test itself: in a task that is spawned to the threads of a runtime, other tasks of that thread would
    /// be judged with it.
    /// Tasks that it spawns to the threads of a runtime that was built before must be wrapped in
    /// [`in_this_scope`](crate::in_this_scope) to be judged.
    ///
    /// # Panics
    ///
    /// As [`check`](Self::check) does, when the future is polled.
    #[track_caller]
    pub fn check_async<R>(&self, mut call: impl AsyncFnMut() -> R) -> impl Future<Output = ()> {
        let location = Location::caller();
        let options = self.clone();
        async move {
            let outcome = match options.begin(location) {
                Ok(mut run) => {
                    while let Some(calls) = run.next_round() {
                        let round = async {
                            for _ in 0..calls {
                                drop(black_box(call().await));
                            }
                        };
                        inside(&run.trial, round).await;
                    }
                    run.finish()
                }
                Err(message) => Err(message),
            };
            if let Err(message) = outcome {
                panic!("{message}");
            }
        }
    }

    fn begin(&self, location: &'static Location<'static>) -> Result<Run, String> {
        Run::begin(self.wishes, self.warm_up, self.all_threads || has_process_to_itself(), location)
    }
}

/// Whether no other test runs in this process.
pub(super) fn has_process_to_itself() -> bool {
    std::env::var_os("NEXTEST_EXECUTION_MODE").is_some_and(|mode| mode == "process-per-test")
}

/// Polls a future with its thread in the trial. The thread stays in it between polls; when the future moves to another
/// thread, so does the scope.
pub(super) async fn inside<F: Future>(trial: &Trial, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut thread = None;
    poll_fn(|context| {
        if !thread.as_ref().is_some_and(Inside::is_here) {
            thread = None;
            thread = Some(trial.enter());
        }
        future.as_mut().poll(context)
    })
    .await
}
