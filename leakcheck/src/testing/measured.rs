//! One call of a closure, counted: no leaks, heap budgets.

use super::bounded::{has_process_to_itself, inside};
use super::message;
use super::verdict::is_list_of_threads;
use crate::model::{Amount, Counters, Function, fold};
use crate::record::{Trial, aside};
use std::future::Future;
use std::hint::black_box;
use std::panic::Location;

/// What a closure returned, and what it allocated: of its own thread, of threads started in it, and of futures wrapped in
/// [`in_this_scope`](crate::in_this_scope). Exact counts; what it frees of others' blocks does not count. A thread that it
/// starts counts with what the standard library allocates for it, now and then a block of a list of all threads.
///
/// ```
/// # #[global_allocator]
/// # static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// # fn main() {
/// use leakcheck::testing::Measured;
///
/// let measured = Measured::of(|| vec![0_u8; 100]);
/// assert_eq!((measured.allocations(), measured.live_bytes()), (1, 100));
/// assert_eq!(measured.into_value().len(), 100);
/// # }
/// ```
#[derive(Debug)]
pub struct Measured<R> {
    value: R,
    counts: Counters,
    trial: Trial,
    location: &'static Location<'static>,
}

impl<R> Measured<R> {
    /// Calls a closure once.
    ///
    /// # Panics
    ///
    /// When [`Leakcheck`](crate::Leakcheck) is not the global allocator, or the recording that runs is not exact.
    #[track_caller]
    pub fn of(call: impl FnOnce() -> R) -> Self {
        let location = Location::caller();
        let trial = match begin(location) {
            Ok(trial) => trial,
            Err(message) => panic!("{message}"),
        };
        let value = {
            let _inside = trial.enter();
            black_box(call())
        };
        Self::count(value, trial, location)
    }

    /// Calls an async closure once.
    ///
    /// # Panics
    ///
    /// As [`of`](Self::of) does, when the future is polled.
    #[track_caller]
    pub fn of_async(call: impl AsyncFnOnce() -> R) -> impl Future<Output = Self> {
        let location = Location::caller();
        async move {
            let trial = match begin(location) {
                Ok(trial) => trial,
                Err(message) => panic!("{message}"),
            };
            let value = inside(&trial, async { black_box(call().await) }).await;
            Self::count(value, trial, location)
        }
    }

    fn count(value: R, mut trial: Trial, location: &'static Location<'static>) -> Self {
        trial.settle();
        let counts = trial.look();
        if let Err(error) = trial.is_complete() {
            panic!("{}", message::nothing_asserted(&error));
        }
        Self { value, counts, trial, location }
    }

    /// Blocks allocated. One that `realloc` lets grow is still the same block.
    pub const fn allocations(&self) -> u64 {
        self.counts.allocated.blocks
    }

    /// How often a block was resized.
    pub const fn resizes(&self) -> u64 {
        self.counts.resized
    }

    /// Bytes allocated, growth included.
    pub const fn allocated_bytes(&self) -> u64 {
        self.counts.allocated.bytes
    }

    /// Bytes live when the closure had returned, of blocks allocated in it; the value it returned is live.
    pub const fn live_bytes(&self) -> u64 {
        self.counts.live().bytes
    }

    /// Blocks live when the closure had returned, of those allocated in it.
    pub const fn live_blocks(&self) -> u64 {
        self.counts.live().blocks
    }

    /// What the closure returned.
    pub fn into_value(self) -> R {
        self.value
    }

    /// What the macros panic with: the claim, what was counted, and the sites with most of it.
    #[doc(hidden)]
    pub fn failure_of_live_bytes(&self, claim: &str) -> String {
        let live = self.counts.live();
        self.failure(claim, &format!("{} live", message::amount(live)), |counts| counts.live())
    }

    /// As [`failure_of_live_bytes`](Self::failure_of_live_bytes).
    #[doc(hidden)]
    pub fn failure_of_allocations(&self, claim: &str) -> String {
        let counted = format!("{} allocated", message::amount(self.counts.allocated));
        self.failure(claim, &counted, |counts| counts.allocated)
    }

    fn failure(&self, claim: &str, counted: &str, of: fn(Counters) -> Amount) -> String {
        aside(|| {
            let sites = sites_of(&self.trial, of);
            message::over_budget(claim, counted, &sites, self.location)
        })
    }
}

/// Calls a closure twice, and panics when a block that the second call allocated is left after its value was dropped. What
/// the first call leaves behind, in lazily made statics for instance, is not looked at.
///
/// # Panics
///
/// When blocks are left; when [`Leakcheck`](crate::Leakcheck) is not the global allocator.
#[track_caller]
pub fn check_no_leaks<R>(mut call: impl FnMut() -> R) {
    let location = Location::caller();
    let outcome = begin(location).and_then(|mut trial| {
        for _ in 0..2 {
            start_again(&mut trial);
            let _inside = trial.enter();
            drop(black_box(call()));
        }
        left(trial, location)
    });
    if let Err(message) = outcome {
        panic!("{message}");
    }
}

/// The same for an async closure, or one that returns a future.
///
/// # Panics
///
/// As [`check_no_leaks`] does, when the future is polled.
#[track_caller]
pub fn check_no_leaks_async<R>(mut call: impl AsyncFnMut() -> R) -> impl Future<Output = ()> {
    let location = Location::caller();
    async move {
        let outcome = match begin(location) {
            Ok(mut trial) => {
                for _ in 0..2 {
                    start_again(&mut trial);
                    inside(&trial, async { drop(black_box(call().await)) }).await;
                }
                left(trial, location)
            }
            Err(message) => Err(message),
        };
        if let Err(message) = outcome {
            panic!("{message}");
        }
    }
}

fn begin(location: &'static Location<'static>) -> Result<Trial, String> {
    aside(|| Trial::begin(location, has_process_to_itself()).map_err(|error| message::nothing_asserted(&error)))
}

fn start_again(trial: &mut Trial) {
    trial.settle();
    trial.look();
    trial.next_round();
}

/// Nothing of the last round is left, or what is.
fn left(mut trial: Trial, location: &'static Location<'static>) -> Result<(), String> {
    trial.settle();
    trial.look();
    aside(|| {
        trial.is_complete().map_err(|error| message::nothing_asserted(&error))?;
        let last = trial.round();
        let live = |counters: Counters| counters.live();
        let sites: Vec<message::Site> =
            sites_of_round(&trial, live, last).into_iter().filter(|site| !site.amount.is_zero()).collect();
        if sites.is_empty() {
            return Ok(());
        }
        Err(message::left(&sites, trial.others_inside(), location))
    })
}

fn sites_of(trial: &Trial, of: fn(Counters) -> Amount) -> Vec<message::Site> {
    sites_where(trial, of, |_| true)
}

fn sites_of_round(trial: &Trial, of: fn(Counters) -> Amount, round: u32) -> Vec<message::Site> {
    if trial.live_in(round).is_zero() {
        return Vec::new();
    }
    let mut sites = sites_where(trial, of, move |born| born == round);
    sites.retain(|site| !is_list_of_threads(&site.stack));
    sites
}

/// The sites, those with most bytes first.
fn sites_where(trial: &Trial, of: fn(Counters) -> Amount, is_meant: impl Fn(u32) -> bool) -> Vec<message::Site> {
    let all = trial.tell_all(|snapshot, watched| {
        let meant = snapshot.sites.iter().zip(watched).filter(|(_, one)| is_meant(one.round));
        let amounts = meant.map(|(site, _)| {
            let functions: Vec<Function> = snapshot.frames_of(site).flat_map(|frame| frame.functions.clone()).collect();
            let threads = site.threads.iter().filter_map(|id| snapshot.threads.get(id.index()).cloned()).collect();
            message::Site { stack: fold(&functions), amount: of(site.counters), threads }
        });
        amounts.collect::<Vec<_>>()
    });
    let mut sites: Vec<message::Site> = Vec::new();
    for one in all {
        match sites.iter_mut().find(|site| site.stack == one.stack) {
            Some(site) => site.amount = site.amount.plus(one.amount),
            None => sites.push(one),
        }
    }
    sites.retain(|site| !site.amount.is_zero());
    sites.sort_by_key(|site| std::cmp::Reverse((site.amount.bytes, site.amount.blocks)));
    sites
}
