//! What happens when a block is born, resized or freed.
//!
//! Nothing here allocates through the allocator, parks, prints, panics or resolves names. A failure of the recorder
//! leaves the block untracked and is counted.

#[cfg(feature = "groups")]
use super::byte_map::Block;
use super::byte_map::Mark;
use super::counters::{Own as OwnRecords, Record, Shared};
use super::thread::{self, Caller, Own, SHARED_COUNTERS, ThreadState};
use super::weight::{Interval, Weight};
use super::{byte_map, scratch, sites, tail, thread_names, trial_words};
use crate::unwind::{End, Registers};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Whether anything is recorded, and how: [`DORMANT`], [`EXACT`] or [`SAMPLED`].
static MODE: AtomicU32 = AtomicU32::new(DORMANT);
const DORMANT: u32 = 0;
const EXACT: u32 = 1;
const SAMPLED: u32 = 2;

static REACHED: AtomicBool = AtomicBool::new(false);
static GENERATION: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(256);
/// Whether any generation was sampled; while false every weight is one.
static EVER_SAMPLED: AtomicBool = AtomicBool::new(false);
/// The sampling interval of each generation.
static INTERVALS: [AtomicU64; GENERATIONS_MAX] = [const { AtomicU64::new(0) }; GENERATIONS_MAX];
/// Their number grows with the logarithm of the snapshots taken; the last one is used for good.
const GENERATIONS_MAX: usize = 8192;

/// Losses counted in the hook, off its usual path.
pub(super) static LOST: Lost = Lost {
    blocks_without_stack: AtomicU64::new(0),
    sites_over_limit: AtomicU64::new(0),
    generations_over_limit: AtomicU64::new(0),
    out_of_memory_blocks: AtomicU64::new(0),
    resized_unknown_blocks: AtomicU64::new(0),
};

pub(super) struct Lost {
    pub(super) blocks_without_stack: AtomicU64,
    pub(super) sites_over_limit: AtomicU64,
    pub(super) generations_over_limit: AtomicU64,
    pub(super) out_of_memory_blocks: AtomicU64,
    pub(super) resized_unknown_blocks: AtomicU64,
}

/// What becomes of an allocation that is not simply forwarded.
#[derive(Clone, Copy)]
pub(super) enum Admitted {
    /// It is recorded, for a thread of the program.
    Recorded(&'static ThreadState),
    /// It is counted, without a stack.
    Counted,
    /// It is the recorder's own and short-lived.
    Scratch,
}

/// Begins to record, in a new generation whose number is returned.
pub(super) fn switch_on(interval: Interval, depth: u32) -> u32 {
    DEPTH.store(depth, Ordering::Relaxed);
    if interval != Interval::EXACT {
        EVER_SAMPLED.store(true, Ordering::Relaxed);
    }
    let generation = next_generation(interval);
    // Release: a thread that sees the mode sees the tables that were made ready before.
    MODE.store(if interval == Interval::EXACT { EXACT } else { SAMPLED }, Ordering::Release);
    generation
}

/// Records no further allocation. Frees of recorded blocks stay counted.
pub(super) fn switch_off() {
    MODE.store(DORMANT, Ordering::Release);
}

/// Begins a new birth generation and returns its number.
pub(super) fn next_generation(interval: Interval) -> u32 {
    let number = (GENERATION.load(Ordering::Relaxed) + 1).min(GENERATIONS_MAX as u32 - 1);
    INTERVALS[number as usize].store(interval.0, Ordering::Relaxed);
    // Release: a thread that sees the generation sees its interval.
    GENERATION.store(number, Ordering::Release);
    number
}

/// The interval the blocks of a cell were sampled with.
#[inline(always)]
fn interval_of(cell: u32) -> Interval {
    // Relaxed: a block of a sampled generation reaches this thread after the flag was set.
    if !EVER_SAMPLED.load(Ordering::Relaxed) {
        return Interval::EXACT;
    }
    interval_of_generation(cell)
}

#[cold]
fn interval_of_generation(cell: u32) -> Interval {
    let generation = if cell == sites::NO_STACK { 0 } else { sites::cell_at(cell).map_or(0, sites::Cell::generation) };
    INTERVALS.get(generation as usize).map_or(Interval::EXACT, |interval| Interval(interval.load(Ordering::Relaxed)))
}

/// Whether an allocation of `size` bytes is surely not to be recorded. If not, [`admit`] decides.
#[inline(always)]
pub(super) fn passes(size: usize) -> bool {
    // Relaxed: a thread may notice a change of mode late; the tables stay valid either way.
    match MODE.load(Ordering::Relaxed) {
        DORMANT => true,
        EXACT => false,
        _ => thread::count_down(size),
    }
}

/// The state of the calling thread, where an allocation that does not pass is to be recorded as most are; if there is
/// none, [`admit`] decides.
#[inline(always)]
pub(super) fn admit_at_once() -> Option<&'static ThreadState> {
    // Relaxed: as in `passes`.
    if MODE.load(Ordering::Relaxed) == EXACT { thread::idle().or_else(thread::first_seen) } else { None }
}

/// Whether an allocation that does not pass is to be recorded.
pub(super) fn admit() -> Option<Admitted> {
    // Relaxed: as in `passes`.
    match MODE.load(Ordering::Relaxed) {
        EXACT => match thread::caller() {
            Caller::Program(state) => Some(Admitted::Recorded(state)),
            Caller::Stateless => Some(Admitted::Counted),
            Caller::Recorder => recorders_own(),
        },
        DORMANT => None,
        _ => admit_sampled(),
    }
}

/// The recorder's own allocations are not recorded, but they show that the hook is in place.
#[cold]
fn recorders_own() -> Option<Admitted> {
    REACHED.store(true, Ordering::Relaxed);
    scratch::is_looking_up().then_some(Admitted::Scratch)
}

/// Whether an allocation of the recorder's own has come by: if not, [`Leakcheck`](super::Leakcheck) is not the global
/// allocator.
pub(super) fn is_reached() -> bool {
    let countdown = thread::countdown();
    thread::set_countdown(0);
    std::hint::black_box(Box::new(0_u64));
    thread::set_countdown(countdown);
    REACHED.load(Ordering::Relaxed)
}

#[cold]
#[inline(never)]
fn admit_sampled() -> Option<Admitted> {
    match thread::caller() {
        Caller::Program(state) => draw_sample(state, thread::countdown()),
        Caller::Stateless => None,
        Caller::Recorder => recorders_own(),
    }
}

fn draw_sample(state: &'static ThreadState, left: i64) -> Option<Admitted> {
    if left >= 0 {
        return None;
    }
    // Acquire: pairs with the release of the generation, for its interval.
    let generation = GENERATION.load(Ordering::Acquire);
    let interval = Interval(INTERVALS[generation as usize].load(Ordering::Relaxed));
    let (gap, first) = state.in_hook(|own| {
        let first = !own.sampling;
        own.sampling = true;
        (interval.next_gap(&mut own.random), first)
    });
    if first {
        // The thread had no gap yet: its first one begins before this allocation.
        thread::set_countdown(gap + left);
        return draw_sample(state, gap + left);
    }
    // The process has no memory: what is beyond the sample does not matter.
    thread::set_countdown(gap);
    Some(Admitted::Recorded(state))
}

/// Whether the growth of an untracked block is to be recorded, which makes the block a tracked one.
#[inline(always)]
pub(super) fn admit_growth(before: usize, after: usize) -> Option<Admitted> {
    if after <= before || passes(after - before) {
        return None;
    }
    admit().filter(|admitted| !matches!(admitted, Admitted::Scratch))
}

/// Records a new block. False when the block stays untracked.
///
/// # Safety
///
/// `block` was just allocated with [`tail::padded`] for `size` and is known to this thread alone.
#[inline(always)]
pub(super) unsafe fn admitted_born(admitted: Admitted, block: *mut u8, size: usize) -> bool {
    match admitted {
        // SAFETY: passed on from this function's contract.
        Admitted::Recorded(state) => unsafe {
            let young = state.is_young();
            let recorded = born(state, block, size);
            if young {
                state.stay_young();
            }
            recorded
        },
        // SAFETY: as above.
        Admitted::Counted | Admitted::Scratch => unsafe { born_without_stack(block, size) },
    }
}

/// Records a new block of the calling thread, whose state is given; false when the block stays untracked. The walk starts
/// in this function, so it must not be inlined.
///
/// # Safety
///
/// As for [`admitted_born`].
#[inline(never)]
pub(super) unsafe fn born(state: &'static ThreadState, block: *mut u8, size: usize) -> bool {
    if !byte_map::set(block as usize) {
        return born_untracked();
    }
    // The walk begins in this function's frame.
    let registers = Registers::here();
    let recorded = state.in_hook(|own| {
        // Acquire: pairs with the release of the generation, for its interval.
        let generation = GENERATION.load(Ordering::Acquire);
        let known = |key: u64| own.cached(in_scope(key, state.scope()), generation);
        // SAFETY: the registers are those of this function; the thread's own state is passed.
        let (cell, record) = match unsafe { own.unwinder.recognise(registers, known) } {
            Some(known) => known,
            // SAFETY: as above.
            None => unsafe { cell_by_walk(state, own, registers, generation) }?,
        };
        // SAFETY: by this function's contract.
        unsafe { tail::write(block, size, cell) };
        record.allocated::<OwnRecords>(interval_of(cell).weight(size), size);
        note_last_block(own, block, size, cell);
        Some(())
    });
    if recorded.is_none() {
        byte_map::clear(block as usize);
        return born_untracked();
    }
    true
}

/// Counts a block that could not be tracked.
#[cold]
#[inline(never)]
fn born_untracked() -> bool {
    // Relaxed, here and below: statistics.
    LOST.out_of_memory_blocks.fetch_add(1, Ordering::Relaxed);
    false
}

/// Records a block of a thread that has no state.
///
/// # Safety
///
/// As for [`admitted_born`].
#[cold]
#[inline(never)]
unsafe fn born_without_stack(block: *mut u8, size: usize) -> bool {
    if !byte_map::set(block as usize) {
        return born_untracked();
    }
    LOST.blocks_without_stack.fetch_add(1, Ordering::Relaxed);
    // SAFETY: by this function's contract.
    unsafe { tail::write(block, size, sites::NO_STACK) };
    if let Some(record) = SHARED_COUNTERS.record(sites::NO_STACK) {
        record.allocated::<Shared>(Interval::EXACT.weight(size), size);
    }
    true
}

/// Walks the stack and finds its cell; the next time it will be recognised.
///
/// # Safety
///
/// The registers are those of a function that has not returned, and the state is the thread's own.
#[inline(never)]
unsafe fn cell_by_walk(
    state: &'static ThreadState,
    own: &mut Own,
    registers: Registers,
    generation: u32,
) -> Option<(u32, &'static Record)> {
    // Once: a trial may move this thread to its next round meanwhile, and what is remembered must be of one.
    let scope = state.scope();
    let known = |key: u64| own.cached(in_scope(key, scope), generation);
    // SAFETY: passed on from this function's contract.
    if let Some((known, way)) = unsafe { own.unwinder.recognise_otherwise(registers, known) } {
        own.unwinder.note_way(registers, way);
        return Some(known);
    }
    let depth = DEPTH.load(Ordering::Relaxed);
    // SAFETY: passed on from this function's contract.
    let glanced = unsafe { own.unwinder.glance(registers, depth) };
    if let Some(known) = glanced.hash.and_then(known)
        && !own.unwinder.is_worth_learning(registers)
    {
        return Some(known);
    }
    // SAFETY: passed on from this function's contract.
    let walk = unsafe { own.unwinder.walk_from(registers, glanced, depth) };
    note_end(state, walk.end);
    own.nodes_valid = own.nodes_valid.min(walk.depth - walk.changed);
    let hash = in_scope(walk.hash, scope);
    let Some((cell, record)) = own.cached(hash, generation) else {
        let cell = find_cell(own, hash, scope, generation)?;
        let record = state.counters.record(cell)?;
        if cell != sites::NO_STACK {
            own.remember(hash, generation, cell, record);
        }
        return Some((cell, record));
    };
    // The second time: worth being recognised.
    // SAFETY: passed on from this function's contract; the walk was just made.
    if let Some(key) = unsafe { own.unwinder.learn(registers) } {
        own.remember(in_scope(key, scope), generation, cell, record);
    }
    Some((cell, record))
}

#[cfg(feature = "groups")]
#[inline(always)]
fn note_last_block(own: &mut Own, block: *mut u8, size: usize, cell: u32) {
    own.last_block = (block.addr(), size, cell);
}

#[cfg(not(feature = "groups"))]
#[inline(always)]
const fn note_last_block(_own: &mut Own, _block: *mut u8, _size: usize, _cell: u32) {}

fn current_interval(generation: u32) -> Interval {
    if EVER_SAMPLED.load(Ordering::Relaxed) {
        Interval(INTERVALS[generation as usize % GENERATIONS_MAX].load(Ordering::Relaxed))
    } else {
        Interval::EXACT
    }
}

#[inline(always)]
fn note_end(state: &ThreadState, end: End) {
    let counter = match end {
        End::Root => return,
        End::DepthLimit => &state.losses.depth_limited,
        _ => &state.losses.truncated,
    };
    // Relaxed: a statistic of this thread's own.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The hash of a stack in a scope; scope 0 is none.
#[inline(always)]
const fn in_scope(hash: u64, scope: u32) -> u64 {
    hash ^ (scope as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The cell of the stack just walked, by way of the shared tables. [`sites::NO_STACK`] when they are full and every
/// block counts alike; `None` when the block must stay untracked.
#[cold]
#[inline(never)]
fn find_cell(own: &mut Own, hash: u64, scope: u32, generation: u32) -> Option<u32> {
    let site = sites::site(hash, scope, || intern_stack(own));
    let cell = site.and_then(|number| {
        if let Some(site) = sites::site_at(number) {
            thread_names::note(&mut own.name, site);
        }
        if trial_words::is_trial(scope) {
            sites::only_cell(number, generation)
        } else {
            sites::cell(number, generation)
        }
    });
    let Some(cell) = cell else {
        let lost = if site.is_none() { &LOST.sites_over_limit } else { &LOST.generations_over_limit };
        lost.fetch_add(1, Ordering::Relaxed);
        // Only where every block has the same weight can they share one cell.
        return (current_interval(generation) == Interval::EXACT).then_some(sites::NO_STACK);
    };
    Some(cell)
}

/// The node of the stack just walked.
fn intern_stack(own: &mut Own) -> Option<u32> {
    let frames = own.unwinder.frames();
    let mut node = match own.nodes_valid {
        0 => sites::ROOT,
        valid => own.nodes[valid as usize - 1],
    };
    for (place, address) in frames.addresses().enumerate().skip(own.nodes_valid as usize) {
        node = sites::node(node, address as u64)?;
        own.nodes[place] = node;
        own.nodes_valid = place as u32 + 1;
    }
    Some(node)
}

/// Records a free. Must be called before the memory goes back: afterwards another thread may own the address.
///
/// False, and nothing recorded, where that is not done in a few instructions: then [`freed`] does it.
///
/// # Safety
///
/// `block` is tracked, by `mark`, of `size` bytes, and this thread owns it.
#[inline(always)]
pub(super) unsafe fn freed_at_once(mark: Mark, block: *mut u8, size: usize) -> bool {
    // Relaxed: as in `interval_of`.
    if EVER_SAMPLED.load(Ordering::Relaxed) {
        return false;
    }
    let Some(state) = thread::idle() else { return false };
    // SAFETY: by this function's contract.
    let cell = unsafe { tail::read(block, size) };
    let Some(record) = state.counters.existing_record(cell) else { return false };
    state.in_hook(|_| {
        mark.clear();
        record.freed::<OwnRecords>(Interval::EXACT.weight(size));
    });
    true
}

/// Records a free, as [`freed_at_once`] does, in all cases.
///
/// # Safety
///
/// `block` is tracked, of `size` bytes, and this thread owns it.
#[cold]
#[inline(never)]
pub(super) unsafe fn freed(block: *mut u8, size: usize) {
    byte_map::clear(block as usize);
    // SAFETY: by this function's contract.
    let cell = unsafe { tail::read(block, size) };
    count_free(cell, interval_of(cell).weight(size));
}

fn count_free(cell: u32, weight: Weight) {
    match thread::caller() {
        Caller::Program(state) => {
            if state.is_young() {
                state.grow_up(scope_of(cell));
            }
            state.in_hook(|_| {
                if let Some(record) = state.counters.record(cell) {
                    record.freed::<OwnRecords>(weight);
                }
            });
        }
        Caller::Stateless | Caller::Recorder => {
            if let Some(record) = SHARED_COUNTERS.record(cell) {
                record.freed::<Shared>(weight);
            }
        }
    }
}

/// What becomes of a tracked block at `realloc`.
#[derive(Clone, Copy)]
pub(super) struct Resizing {
    cell: u32,
    interval: Interval,
    size: usize,
    /// Whether it stays tracked: a sampled block that shrinks is dropped with the probability that makes its smaller
    /// size as likely to be sampled as any other block of that size.
    pub(super) stays: bool,
}

/// Takes the mark off a tracked block that is about to be resized to `new_size`.
///
/// # Safety
///
/// `block` is tracked, of `size` bytes, and this thread owns it.
pub(super) unsafe fn begin_resize(block: *mut u8, size: usize, new_size: usize) -> Resizing {
    byte_map::clear(block as usize);
    // SAFETY: by this function's contract.
    let cell = unsafe { tail::read(block, size) };
    let interval = interval_of(cell);
    let stays = interval == Interval::EXACT || new_size >= size || {
        let keep = interval.probability(new_size.max(1)) / interval.probability(size.max(1));
        match thread::caller() {
            Caller::Program(state) => state.in_hook(|own| own.random.unit() <= keep),
            Caller::Stateless | Caller::Recorder => true,
        }
    };
    Resizing { cell, interval, size, stays }
}

/// Puts the mark back after a `realloc` that failed: the block is as it was.
pub(super) fn resize_failed(block: *mut u8) {
    // The chunk of the map is there: the block was marked before.
    byte_map::set(block as usize);
}

/// Records that a block now lies at `block` with `new_size` bytes. False when it could not stay tracked.
///
/// # Safety
///
/// `block` was reallocated to [`tail::padded`] for `new_size` and is known to this thread alone.
pub(super) unsafe fn resized(resizing: Resizing, block: *mut u8, new_size: usize) -> bool {
    let before = resizing.interval.weight(resizing.size);
    if !byte_map::set(block as usize) {
        LOST.out_of_memory_blocks.fetch_add(1, Ordering::Relaxed);
        count_free(resizing.cell, before);
        return false;
    }
    // SAFETY: by this function's contract.
    unsafe { tail::write(block, new_size, resizing.cell) };
    let after = resizing.interval.weight(new_size);
    match thread::caller() {
        Caller::Program(state) => state.in_hook(|own| {
            note_last_block(own, std::ptr::null_mut(), 0, 0);
            if let Some(record) = state.counters.record(resizing.cell) {
                record.resized::<OwnRecords>(before, after, new_size);
            }
        }),
        Caller::Stateless | Caller::Recorder => {
            if let Some(record) = SHARED_COUNTERS.record(resizing.cell) {
                record.resized::<Shared>(before, after, new_size);
            }
        }
    }
    true
}

/// Records that a block lost its tail in a `realloc`: to the totals it is freed.
pub(super) fn resized_away(resizing: Resizing) {
    count_free(resizing.cell, resizing.interval.weight(resizing.size));
}

#[cfg(feature = "groups")]
/// Charges the block this thread recorded last, if it holds `address`, to `scope` instead.
pub(super) fn rescope_last_block(address: usize, scope: u32) {
    let Caller::Program(state) = thread::caller() else { return };
    state.in_hook(|own| {
        let (start, size, cell) = own.last_block;
        let is_it = (start..start + size.max(1)).contains(&address) && byte_map::block_at(start) == Block::Tracked;
        if !is_it || cell == sites::NO_STACK || state.scope() == scope || trial_words::is_trial(state.scope()) {
            return;
        }
        let Some(site) = sites::cell_at(cell).and_then(|cell| sites::site_at(cell.site())) else { return };
        let generation = GENERATION.load(Ordering::Acquire);
        // Out of its own scope, into the other.
        let hash = in_scope(in_scope(site.hash(), site.scope()), scope);
        let target = sites::site(hash, scope, || Some(site.node())).and_then(|site| sites::cell(site, generation));
        let Some(target) = target else { return };
        let weight = interval_of(cell).weight(size);
        let (Some(from), Some(to)) = (state.counters.record(cell), state.counters.record(target)) else { return };
        from.unallocated(weight);
        to.allocated::<OwnRecords>(weight, size);
        // SAFETY: the block at `start` is tracked and holds an address the caller was just given, so it is still the
        // one this thread recorded last, of this size: were it freed since, no tracked block would start there.
        unsafe { tail::write(start as *mut u8, size, target) };
        own.last_block = (start, size, target);
    });
}

/// The scope of a cell's blocks.
pub(super) fn scope_of(cell: u32) -> u32 {
    sites::cell_at(cell).and_then(|cell| sites::site_at(cell.site())).map_or(0, sites::Site::scope)
}

/// Sets the scope of the calling thread and returns the one before; `None` when the thread has no state, or is in a trial,
/// which its blocks stay in.
pub(super) fn set_scope(scope: u32) -> Option<u32> {
    let Caller::Program(state) = thread::caller() else { return None };
    // A thread that leaves its last scope is in whatever all threads are in.
    let scope = if scope == 0 { trial_words::everywhere() } else { scope };
    let mut before = state.scope();
    // Relaxed: this thread's own, except that a trial may move it at this moment.
    while !trial_words::is_trial(before) {
        match state.scope.compare_exchange_weak(before, scope, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some(before),
            Err(moved) => before = moved,
        }
    }
    None
}

/// Whether every block is recorded.
pub(super) fn is_exact() -> bool {
    MODE.load(Ordering::Relaxed) == EXACT
}

/// Counts a block that was born unrecorded and is recorded from its growth on.
#[cold]
pub(super) fn note_unknown_growth() {
    // Relaxed: a statistic.
    LOST.resized_unknown_blocks.fetch_add(1, Ordering::Relaxed);
}
