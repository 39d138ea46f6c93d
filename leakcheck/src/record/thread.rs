//! What the recorder keeps per thread, and how a thread is recognised.
//!
//! A thread-local word without destructor points to the state, so reading it never allocates and works until the very
//! end of a thread. States are mapped memory on an insert-only list; an ending thread leaves its state, counts
//! included, to the next one.

use super::counters::{Counters, Record};
use super::weight::Random;
use super::{memory, trial_words};
use crate::unwind::Unwinder;
use std::cell::{Cell, UnsafeCell};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence};

/// Entries of the per-thread cache from stack hash to cell.
const CACHE_ENTRIES: usize = 16384;

/// One thread's state. All-zero bytes are a fresh one.
pub(super) struct ThreadState {
    /// Counts by cell; written by the owner, read by the collector.
    pub(super) counters: Counters,
    /// [`IDLE`], [`IN_HOOK`], [`INTERNAL`] or [`YOUNG`]; read by the collector.
    busy: AtomicU32,
    /// Whether a thread owns this state.
    taken: AtomicU32,
    next: AtomicPtr<ThreadState>,
    pub(super) losses: StackLosses,
    /// [`unwind::top_of_thread`](crate::unwind::top_of_thread) of the owner; 0 when not known. Written once an owner, read by the collector.
    stack_top: AtomicUsize,
    /// The scope allocations are charged to. The owner's, except that a trial moves the threads in it from round to round.
    pub(super) scope: AtomicU32,
    own: UnsafeCell<Own>,
}

/// Stacks that were shortened; written by the owner, read by the collector.
pub(super) struct StackLosses {
    pub(super) depth_limited: AtomicU64,
    pub(super) truncated: AtomicU64,
}

/// What only the owner touches, and only while it is in the hook.
pub(super) struct Own {
    pub(super) unwinder: Unwinder,
    pub(super) random: Random,
    /// Whether the countdown was drawn.
    pub(super) sampling: bool,
    /// The thread's name: its number plus one; 0 when not looked up yet.
    pub(super) name: u16,
    exit_rounds: u8,
    /// The last block recorded: address, size, cell.
    #[cfg(feature = "groups")]
    pub(super) last_block: (usize, usize, u32),
    /// Stack nodes of the last walk's frames, outermost first; the first `nodes_valid` are right.
    pub(super) nodes: [u32; crate::unwind::DEPTH_MAX as usize],
    pub(super) nodes_valid: u32,
    cache: [CacheEntry; CACHE_ENTRIES],
}

/// The cell of a stack hash in one generation, and this thread's record of it.
#[derive(Clone, Copy)]
struct CacheEntry {
    hash: u64,
    record: Option<&'static Record>,
    generation: u32,
    cell: u32,
}

impl CacheEntry {
    /// What it remembers, if it is for this hash and generation.
    #[inline(always)]
    fn known(&self, hash: u64, generation: u32) -> Option<(u32, &'static Record)> {
        if self.hash == hash && self.generation == generation {
            self.record.map(|record| (self.cell, record))
        } else {
            None
        }
    }
}

// SAFETY: `own` is touched by the owning thread alone, under `busy`; everything else is atomic.
unsafe impl Sync for ThreadState {}

/// The thread is in its own code.
const IDLE: u32 = 0;
/// The thread is inside the hook: a second entry comes from a signal handler.
const IN_HOOK: u32 = 1;
/// The thread runs code of the recorder that may allocate: its blocks are not the program's.
const INTERNAL: u32 = 2;
/// The thread is in its own code and new: what it does is looked at before it is recorded as usual.
const YOUNG: u32 = 3;

/// Values of the thread-local word that are no address.
const UNKNOWN: usize = 0;
const RECORDERS_OWN: usize = 1;
const ENDED: usize = 2;

/// A countdown that stays below zero whatever is taken off.
const NEVER_PASSES: i64 = i64::MIN / 2;

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(UNKNOWN) };
    /// Bytes until the next sample. Beside the state, not in it: most allocations of a sampled recording need no more.
    static COUNTDOWN: Cell<i64> = const { Cell::new(0) };
}

static STATES: AtomicPtr<ThreadState> = AtomicPtr::new(ptr::null_mut());
/// Counts of threads that have no state, added to atomically.
pub(super) static SHARED_COUNTERS: Counters = Counters::new();
static EXIT_KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();

/// Who is asking.
pub(super) enum Caller {
    /// A thread of the program, not inside the hook.
    Program(&'static ThreadState),
    /// A signal handler that interrupted the hook, or a thread that is past its end.
    Stateless,
    /// The recorder itself.
    Recorder,
}

/// The state of the calling thread, if it has one and is not inside the hook.
#[inline(always)]
pub(super) fn idle() -> Option<&'static ThreadState> {
    let word = CURRENT.with(Cell::get);
    if word <= ENDED {
        return None;
    }
    // SAFETY: above the marks the word is the address of a state, which is never unmapped.
    let state = unsafe { &*(word as *const ThreadState) };
    // Relaxed: written by this thread alone.
    (state.busy.load(Ordering::Relaxed) == IDLE).then_some(state)
}

/// The state of the calling thread, which is given one now if it has none; also while it works for the recorder.
pub(super) fn state_of_caller() -> Option<&'static ThreadState> {
    let _ = caller();
    let word = CURRENT.with(Cell::get);
    // SAFETY: as in `idle`.
    (word > ENDED).then(|| unsafe { &*(word as *const ThreadState) })
}

/// The state of a thread of the program that had none yet, so that its first allocation is made as all others are.
#[cold]
#[inline(never)]
pub(super) fn first_seen() -> Option<&'static ThreadState> {
    match caller_not_idle() {
        Caller::Program(state) => (!state.is_young()).then_some(state),
        Caller::Stateless | Caller::Recorder => None,
    }
}

/// Recognises the calling thread; gives it a state at its first call.
#[inline(always)]
pub(super) fn caller() -> Caller {
    match idle() {
        Some(state) => Caller::Program(state),
        None => caller_not_idle(),
    }
}

#[cold]
#[inline(never)]
fn caller_not_idle() -> Caller {
    let word = CURRENT.with(Cell::get);
    if word <= ENDED {
        return caller_without_state(word);
    }
    // SAFETY: as in `idle`.
    let state = unsafe { &*(word as *const ThreadState) };
    // Relaxed: as in `idle`.
    match state.busy.load(Ordering::Relaxed) {
        IN_HOOK => Caller::Stateless,
        YOUNG => Caller::Program(state),
        _ => Caller::Recorder,
    }
}

fn caller_without_state(word: usize) -> Caller {
    match word {
        RECORDERS_OWN => {
            set_countdown(NEVER_PASSES);
            Caller::Recorder
        }
        ENDED => Caller::Stateless,
        _ => memory::keeping_errno(|| match take_state() {
            Some(state) => Caller::Program(state),
            None => Caller::Stateless,
        }),
    }
}

impl ThreadState {
    /// Runs `work` inside the hook. It must not allocate, lock or panic.
    #[inline(always)]
    pub(super) fn in_hook<T>(&self, work: impl FnOnce(&mut Own) -> T) -> T {
        // Relaxed, with compiler fences: a signal handler on this thread must see the mark before and after the work.
        // The collector orders its own reads with a membarrier.
        self.busy.store(IN_HOOK, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        // SAFETY: `own` is reached only here, by the owning thread, and not again while `busy` is set: `caller` hands
        // out no state then.
        let result = work(unsafe { &mut *self.own.get() });
        compiler_fence(Ordering::SeqCst);
        self.busy.store(IDLE, Ordering::Release);
        result
    }

    /// The top of the stack of the thread that owns this state, if one does.
    pub(super) fn stack_top(&self) -> Option<usize> {
        // Relaxed: a thread that ends or begins at this moment may be missed or counted too much.
        let owned = self.is_taken();
        let top = self.stack_top.load(Ordering::Relaxed);
        (owned && top != 0).then_some(top)
    }

    /// The scope allocations are charged to.
    #[inline(always)]
    pub(super) fn scope(&self) -> u32 {
        // Relaxed: at the change of a round the hook may still see the one before.
        self.scope.load(Ordering::Relaxed)
    }

    /// Whether the calling thread, which this is, may still turn out to have been started in a trial. Any use of the hook
    /// ends that, until [`stay_young`](Self::stay_young).
    pub(super) fn is_young(&self) -> bool {
        // Relaxed, here and below: written by this thread alone.
        self.busy.load(Ordering::Relaxed) == YOUNG
    }

    pub(super) fn stay_young(&self) {
        self.busy.store(YOUNG, Ordering::Relaxed);
    }

    /// The first block a new thread frees decides: the standard library's spawning function allocates one in the thread
    /// that calls it, which the new thread frees before it does anything for the program. If it was allocated in a trial,
    /// so was the thread started in it.
    #[cold]
    pub(super) fn grow_up(&self, scope_of_freed: u32) {
        if let Some(word) = trial_words::running(scope_of_freed)
            && self.scope.load(Ordering::Relaxed) == 0
        {
            self.scope.store(word, Ordering::Relaxed);
        }
    }

    /// Whether a thread owns this state.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed) != 0
    }

    /// Whether the thread was seen outside the hook.
    pub(super) fn is_idle(&self) -> bool {
        // Acquire: pairs with the release at the end of `in_hook`.
        self.busy.load(Ordering::Acquire) != IN_HOOK
    }
}

/// Runs code of the recorder on a thread of the program: what it allocates is not recorded.
pub(super) fn internally<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(Option<&'static ThreadState>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(state) = self.0 {
                state.busy.store(IDLE, Ordering::Relaxed);
            }
        }
    }
    let state = match caller() {
        Caller::Program(state) => {
            // Relaxed: read by this thread.
            state.busy.store(INTERNAL, Ordering::Relaxed);
            Some(state)
        }
        Caller::Stateless | Caller::Recorder => None,
    };
    let _restore = Restore(state);
    work()
}

/// Makes the calling thread one of the recorder's own for the rest of its life.
pub(super) fn become_recorders_own() {
    CURRENT.with(|word| word.set(RECORDERS_OWN));
    set_countdown(NEVER_PASSES);
}

/// Takes `size` bytes off the calling thread's countdown; true while it is not below zero.
#[inline(always)]
pub(super) fn count_down(size: usize) -> bool {
    // An update lost to a signal handler shifts one sample.
    let left = COUNTDOWN.with(Cell::get).wrapping_sub(size as i64);
    set_countdown(left);
    left >= 0
}

/// Bytes until the calling thread's next sample.
pub(super) fn countdown() -> i64 {
    COUNTDOWN.with(Cell::get)
}

/// Sets the bytes until the calling thread's next sample.
#[inline(always)]
pub(super) fn set_countdown(bytes: i64) {
    COUNTDOWN.with(|countdown| countdown.set(bytes));
}

/// All states there ever were.
pub(super) fn states() -> impl Iterator<Item = &'static ThreadState> {
    // Acquire: pairs with the release that put the state on the list.
    let mut next = STATES.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: states are never unmapped.
        let state = unsafe { next.as_ref() }?;
        next = state.next.load(Ordering::Relaxed);
        Some(state)
    })
}

/// Creates the key whose destructor tells of ending threads. Called outside the hook.
pub(super) fn prepare() {
    EXIT_KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is valid for writing; the destructor is a plain function.
        let made = unsafe { libc::pthread_key_create(&raw mut key, Some(thread_ended)) };
        (made == 0).then_some(key)
    });
}

fn take_state() -> Option<&'static ThreadState> {
    let reused = states().find(|state| {
        // Acquire: what the previous owner wrote is visible.
        state.taken.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    });
    let state = match reused {
        Some(state) => state,
        None => new_state()?,
    };
    // SAFETY: `taken` makes the calling thread the owner, and the state is not in `CURRENT` yet.
    unsafe { &mut *state.own.get() }.reset();
    // Relaxed: the owner's.
    let mut everywhere = trial_words::everywhere();
    loop {
        state.scope.store(everywhere, Ordering::Relaxed);
        // What a trial that ends at this moment has cleared already would stay here.
        match trial_words::everywhere() {
            same if same == everywhere => break,
            other => everywhere = other,
        }
    }
    state.busy.store(IDLE, Ordering::Relaxed);
    state.stack_top.store(crate::unwind::top_of_thread().unwrap_or(0), Ordering::Relaxed);
    CURRENT.with(|word| word.set(ptr::from_ref(state) as usize));
    if let Some(Some(key)) = EXIT_KEY.get() {
        // The C library may allocate for the first key of a thread; that allocation is not the program's.
        state.busy.store(INTERNAL, Ordering::Relaxed);
        // SAFETY: the key exists for the life of the process.
        unsafe { libc::pthread_setspecific(*key, ptr::from_ref(state).cast()) };
        state.busy.store(IDLE, Ordering::Relaxed);
    }
    if trial_words::may_have_begun_in_one() {
        state.stay_young();
    }
    Some(state)
}

fn new_state() -> Option<&'static ThreadState> {
    let memory = memory::map_zeroed(size_of::<ThreadState>())?.cast::<ThreadState>();
    // SAFETY: a zeroed mapping of the right size, page-aligned, never unmapped; zero is a valid state.
    let state: &'static ThreadState = unsafe { memory.as_ref() };
    state.taken.store(1, Ordering::Relaxed);
    let mut head = STATES.load(Ordering::Relaxed);
    loop {
        state.next.store(head, Ordering::Relaxed);
        // Release: publishes the state.
        match STATES.compare_exchange_weak(head, memory.as_ptr(), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return Some(state),
            Err(other) => head = other,
        }
    }
}

impl Own {
    fn reset(&mut self) {
        self.unwinder.forget();
        self.nodes_valid = 0;
        self.sampling = false;
        self.name = 0;
        self.exit_rounds = 0;
        #[cfg(feature = "groups")]
        {
            self.last_block = (0, 0, 0);
        }
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is valid for writing.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        let seed = super::sites::mix(ptr::from_ref(self) as u64 ^ (now.tv_nsec as u64) << 32 ^ now.tv_sec as u64);
        self.random = Random(seed | 1);
    }

    /// What is remembered of `hash` in `generation`.
    #[inline(always)]
    pub(super) fn cached(&self, hash: u64, generation: u32) -> Option<(u32, &'static Record)> {
        let place = cache_place(hash);
        self.cache[place].known(hash, generation).or_else(|| self.cache[place ^ 1].known(hash, generation))
    }

    /// Remembers the cell of `hash` in `generation`, and this thread's record of it. What was there moves over to the next place.
    pub(super) fn remember(&mut self, hash: u64, generation: u32, cell: u32, record: &'static Record) {
        let place = cache_place(hash);
        self.cache[place ^ 1] = self.cache[place];
        self.cache[place] = CacheEntry { hash, record: Some(record), generation, cell };
    }
}

/// Where the cell of `hash` is remembered.
#[inline(always)]
const fn cache_place(hash: u64) -> usize {
    (hash >> 32) as usize % CACHE_ENTRIES
}

/// Runs at the end of each thread that has a state. Other destructors may still allocate afterwards, so it asks to be
/// called again twice before it lets the state go.
unsafe extern "C" fn thread_ended(state: *mut libc::c_void) {
    const ROUNDS: u8 = 2;
    // SAFETY: the key's value is a state, which is never unmapped.
    let state = unsafe { &*state.cast::<ThreadState>() };
    let round = state.in_hook(|own| {
        own.exit_rounds += 1;
        own.exit_rounds
    });
    if round <= ROUNDS
        && let Some(Some(key)) = EXIT_KEY.get()
    {
        // SAFETY: as in `take_state`.
        unsafe { libc::pthread_setspecific(*key, ptr::from_ref(state).cast()) };
        return;
    }
    CURRENT.with(|word| word.set(ENDED));
    state.scope.store(0, Ordering::Relaxed);
    // Release: the next owner sees what this one wrote.
    state.taken.store(0, Ordering::Release);
}

/// Touched bytes of all states are not known; this is the part every thread touches.
pub(super) fn bytes() -> usize {
    let fixed = size_of::<Own>();
    states().count() * fixed
}
