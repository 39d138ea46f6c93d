//! The walk: from the caller outward, but only as far as the stack differs from the previous walk of this thread.
//!
//! The previous walk is kept outermost first as (slot of the return address, return address). When a frame of the new walk has the
//! slot and address of a kept one, its caller has the same SP, and BP too where an older frame still depends on it, then all older frames are the same provided
//! that every word they were read from is: the return addresses, and the few more that `keep.rs` notes. Those words are compared by
//! independent loads, outermost first; the first one that differs says how many outer frames still hold.
//!
//! Deliberately not here: anything that may wait, allocate or panic. A signal handler may interrupt a walk at any instruction and
//! never return to it; what it leaves half written holds no address that is unsafe to read.

use super::Counters;
use super::cfi::LastRow;
use super::frames::{End, Frames, Glanced, Prefix, Walk, Word, finish, window};
use super::keep::{BP_IS_USED, UNVERIFIABLE};
use super::layouts::Layouts;
use super::machine::{self, Span, code_address};
use super::modules;
use super::rules::{self, FROM_BP, FROM_SP, Probed, Rule};
pub(crate) use super::stack_bounds::top_of_thread;
use super::stack_bounds::{self, Proven, StackBounds, load};
use super::unloadable::{self, MODULES};
use core::alloc::Layout;

/// The most frames a walk can be asked for.
pub const DEPTH_MAX: u32 = 1024;

/// Frames kept from one walk to the next: twice the deepest walk, so that a deep recursion seldom has to start afresh.
pub(super) const KEPT_MAX: usize = 2 * DEPTH_MAX as usize;
const DEPENDENCIES_MAX: usize = 2 * KEPT_MAX;

/// Resolves what walks need. Not for the hook.
pub(super) fn prepare() {
    stack_bounds::prepare();
    rules::prepare();
}

/// Notices libraries that were loaded or unloaded since the last call, and forgets the rules compiled from them. Not for the hook:
/// it takes the loader's lock.
pub fn refresh_modules() {
    if modules::refresh() {
        rules::clear();
    }
}

/// Notes which modules were there when the program started: those are never unloaded. Not for the hook, as above.
pub(crate) fn note_permanent_modules() {
    modules::note_permanent();
}

/// Rules compiled so far in this process; those evicted and compiled again count again.
pub fn rules_compiled() -> u64 {
    rules::compiled()
}

/// A frame as the walk found it, innermost first.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) slot: usize,
    pub(super) address: usize,
    pub(super) bp: usize,
    /// The rule that led here from the inner frame.
    pub(super) rule: Rule,
}

/// One thread's unwinding state. All-zero bytes are a valid empty state.
///
/// 210 KiB (226 on AArch64), of which a walk of n frames touches 72 n bytes or so, in three places: meant for lazily mapped zero pages.
#[repr(C)]
pub struct Unwinder {
    pub(super) bounds: StackBounds,
    pub(super) generation: u32,
    /// Never above KEPT_MAX.
    pub(super) kept_count: u32,
    pub(super) last: Walk,
    /// Kept frames outside the last walk's depth cap.
    pub(super) start: u32,
    /// The kept frames, if they are all that can be had of the last walk's stack, within the depth cap; else 0.
    pub(super) whole_count: u32,
    /// Kept frames up to this one, exclusive, hold for the walk going on. At least 1.
    verified: usize,
    pub(super) end: End,
    ends: [u64; End::COUNT],
    pub(super) slow_steps: u64,
    pub(super) proven: Proven,
    /// Of the interpreter.
    pub(super) last_row: LastRow,
    /// Outermost first, from 1 on. The word at 0 has the highest slot there is, to end searches.
    pub(super) kept: [Word; KEPT_MAX + 1],
    /// Of the kept frames; the one at 0 is of those dropped.
    pub(super) prefixes: [Prefix; KEPT_MAX + 1],
    /// Words besides return addresses that kept frames depend on, outermost first.
    pub(super) dependencies: [Word; DEPENDENCIES_MAX],
    pub(super) found: [Found; KEPT_MAX],
    /// Stacks that were not worth learning.
    pub(super) not_learnt: u32,
    /// Stacks recognised by a layout that was not the first of its SP.
    pub(super) found_behind: u32,
    pub(super) layouts: Layouts,
}

/// The registers of a function that is running.
#[derive(Clone, Copy)]
pub struct Registers {
    pub(super) pc: usize,
    pub(super) sp: usize,
    pub(super) bp: usize,
}

impl Registers {
    /// Those of the function this is called in.
    #[inline(always)]
    pub fn here() -> Self {
        let (pc, sp, bp) = machine::registers_here();
        Self { pc, sp, bp }
    }
}

/// Where a walk stopped looking.
#[derive(Clone, Copy)]
pub(super) enum Stopped {
    /// At the kept frame of this number, which still holds, and so do all older ones.
    Matched(usize),
    Ended(End),
}

impl Unwinder {
    /// An empty state on the heap, for tests and for recorders without zeroed memory at hand.
    pub fn boxed() -> Box<Self> {
        let layout = Layout::new::<Self>();
        // SAFETY: the layout is not of size zero; the memory goes to a box of the same layout; all-zero bytes are valid for every
        // field: integers, words of integers, `End::Root`.
        unsafe {
            let memory = std::alloc::alloc_zeroed(layout).cast::<Self>();
            if memory.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            Box::from_raw(memory)
        }
    }

    /// Takes the calling function's stack; the first frame is the one that called that function.
    ///
    /// Never allocates, locks, parks or panics. A code address that no walk has met before costs a microsecond or two, once.
    ///
    /// # Safety
    /// Always one thread's own `Unwinder`: kept slots are read again, which is safe only on the thread whose stack they lie on.
    /// [`prepare`](super::prepare) ran before.
    #[inline(always)]
    pub unsafe fn walk(&mut self, depth_max: u32) -> Walk {
        // SAFETY: the registers are those of the function this is inlined in, which does not return before this call does.
        unsafe { self.walk_from(Registers::here(), Glanced::NOTHING, depth_max) }
    }

    /// The frames of the last walk.
    pub fn frames(&self) -> Frames<'_> {
        let count = (self.kept_count as usize).min(KEPT_MAX);
        let start = (self.start as usize).min(count);
        Frames {
            words: &self.kept[start + 1..=count],
            prefixes: &self.prefixes[start + 1..=count],
            before: self.prefixes[start].running,
        }
    }

    /// What this thread's walks met so far.
    pub fn counters(&self) -> Counters {
        Counters { ends: self.ends, slow_steps: self.slow_steps }
    }

    /// Back to the empty state: the next walk takes the whole stack anew. For a state that passes to another thread.
    #[cold]
    pub fn forget(&mut self) {
        self.bounds = StackBounds::NOTHING;
        self.drop_kept();
    }

    /// Keeps nothing of the last walk.
    #[cold]
    fn drop_kept(&mut self) {
        self.generation = rules::generation();
        self.kept_count = 0;
        self.start = 0;
        self.end = End::Root;
        self.last = Walk::default();
        self.whole_count = 0;
        self.verified = 1;
        self.kept[0] = Word { slot: usize::MAX, value: 0 };
        self.prefixes[0] = Prefix::NOTHING;
    }

    /// Walks from the given registers of a frame of this thread, after a glance at it just before.
    ///
    /// # Safety
    /// As for [`walk`](Self::walk), and the registers are those of a function that does not return before this call does, and with
    /// which it was glanced at.
    #[inline(always)]
    pub unsafe fn walk_from(&mut self, registers: Registers, glanced: Glanced, depth_max: u32) -> Walk {
        // SAFETY: passed on from this function's contract.
        let walk = unsafe { self.walk_once(registers, glanced, depth_max) };
        let flags = self.prefixes[(self.kept_count as usize).min(KEPT_MAX)].flags;
        let is_by_these_rules = self.generation == rules::generation();
        if is_by_these_rules && (flags & MODULES == 0 || unloadable::are_unchanged(flags)) {
            return walk;
        }
        if is_by_these_rules {
            rules::clear();
        }
        // SAFETY: as above.
        unsafe { self.walk_once(registers, Glanced::NOTHING, depth_max) }
    }

    /// # Safety
    /// As for [`walk_from`](Self::walk_from).
    #[inline(never)]
    unsafe fn walk_once(&mut self, registers: Registers, glanced: Glanced, depth_max: u32) -> Walk {
        let Registers { pc, sp, bp } = registers;
        self.verified = glanced.held as usize + 1;
        self.whole_count = 0;
        if self.generation != rules::generation() {
            self.drop_kept();
        }
        self.proven = Proven::NOTHING;
        let cap = depth_max.clamp(1, DEPTH_MAX) as usize;
        // SAFETY: passed on from this function's contract.
        let (found, leaving, stopped) = unsafe { self.search(pc, sp, bp, (2 * cap).min(KEPT_MAX)) };
        let kept = match stopped {
            Stopped::Matched(index) if found == 0 => index,
            _ => self.keep(found, leaving, stopped),
        };
        if kept < cap && self.end == End::DepthLimit {
            // The kept frames ended at a depth cap and the stack is now shallower: nothing says what lies beyond. This does not
            // recurse again: with nothing kept, a search that ends at the depth limit has found twice the cap or KEPT_MAX.
            self.drop_kept();
            // SAFETY: passed on from this function's contract.
            return unsafe { self.walk_once(registers, Glanced::NOTHING, depth_max) };
        }
        let start = kept.saturating_sub(cap);
        let depth = (kept - start) as u32;
        let is_same_window = start as u32 == self.start && matches!(stopped, Stopped::Matched(_));
        let end = if start > 0 { End::DepthLimit } else { self.end };
        // SAFETY: start <= kept <= KEPT_MAX, and there is one prefix more than that.
        let (running, before) =
            unsafe { (self.prefixes.get_unchecked(kept).running, self.prefixes.get_unchecked(start).running) };
        self.kept_count = kept as u32;
        self.start = start as u32;
        self.whole_count = if matches!(end, End::Root | End::NoRule) { kept as u32 } else { 0 };
        self.last = Walk {
            hash: finish(window(running, before, depth)),
            depth,
            changed: if is_same_window { depth.min(found as u32) } else { depth },
            end,
        };
        // SAFETY: there are as many places as variants.
        unsafe { *self.ends.get_unchecked_mut(end as usize) += 1 };
        self.last
    }

    /// Unwinds until a kept frame still holds or the stack ends. Returns how many frames were found on the way, and the rule by
    /// which the last of them was left for the kept one.
    ///
    /// # Safety
    /// As for `walk_from`; `found_max` is at most KEPT_MAX.
    #[inline(never)]
    unsafe fn search(&mut self, pc: usize, mut sp: usize, mut bp: usize, found_max: usize) -> (usize, Rule, Stopped) {
        let mut key = pc;
        let mut limit = self.bounds.limit_from(sp);
        let first = self.found.as_mut_ptr();
        let mut next = first;
        // SAFETY: there are KEPT_MAX places for found frames.
        let found_end = unsafe { first.add(found_max) };
        let kept = self.kept.as_ptr();
        // The innermost kept frame that may still match, or the one of number 0, which never does.
        // SAFETY: at most KEPT_MAX frames are kept, after the one of number 0.
        let mut top = unsafe { kept.add(self.kept_count as usize) };
        // SAFETY: both pointers are into the same array.
        let count_of = |next: *mut Found| unsafe { next.offset_from_unsigned(first) };
        loop {
            let probed = rules::probe(key);
            let (mut rule, base, mut slot) = match probed.rule_from_sp() {
                Some(rule) => (rule, sp, sp.wrapping_add(probed.return_offset())),
                // PERF: an arm of its own; within the next one it cost x86-64, where it is empty, 3.5 % of this function's instructions.
                None if machine::BP_IS_FREQUENT => {
                    rule_from_bp(probed, sp, bp, limit).unwrap_or_else(|| self.rarer_rule(probed, key, sp, bp, limit))
                }
                None => self.rarer_rule(probed, key, sp, bp, limit),
            };
            let address;
            if slot < limit {
                let saved = base.wrapping_add(rule.saved_offset());
                // SAFETY: the base is SP, or BP if that is on the stack and not below SP, or so large that no slot lies below the
                // limit; sp <= base <= saved <= slot < limit, so both words lie between this frame and the end of the thread's own
                // stack.
                unsafe {
                    address = load(slot);
                    if saved != slot {
                        bp = load(saved);
                    }
                }
                sp = rule.caller_sp(base, slot);
                key = code_address(address).wrapping_sub(1);
                // SAFETY: top is in the array of kept frames, whose word at 0 has a slot that no other exceeds.
                unsafe {
                    while (*top).slot < slot {
                        top = top.sub(1);
                    }
                    if (*top).slot == slot {
                        if (*top).value == address && self.has_span(top, rule.span()) {
                            let held = self.holding(top, bp);
                            if held == top {
                                return (count_of(next), rule, Stopped::Matched(held.offset_from_unsigned(kept)));
                            }
                            top = held;
                        } else {
                            top = top.sub(1);
                        }
                    }
                }
            } else {
                match self.step_slowly(rule, key, sp, bp) {
                    Err(end) => return (count_of(next), Rule::ROOT, Stopped::Ended(end)),
                    Ok(caller) => {
                        (slot, address, sp, bp, rule) =
                            (caller.slot, caller.address, caller.sp, caller.bp, caller.rule);
                        key = caller.key();
                        limit = self.bounds.limit_if_known(sp);
                        // SAFETY: both in the array of kept frames, the latter of number `top` or lower.
                        top = unsafe { kept.add(self.verifiable(top.offset_from_unsigned(kept))) };
                    }
                }
            }
            // SAFETY: next is below found_end.
            unsafe {
                *next = Found { slot, address, bp, rule };
                next = next.add(1);
            }
            if next == found_end {
                return (count_of(next), Rule::ROOT, Stopped::Ended(End::DepthLimit));
            }
        }
    }

    /// The rule for `key`, what it counts from, and the slot of the return address: an address beyond all stacks where a slow step is
    /// needed.
    #[inline(never)]
    fn rarer_rule(&self, probed: Probed, key: usize, sp: usize, bp: usize, limit: usize) -> (Rule, usize, usize) {
        let rule = probed.rule().unwrap_or_else(|| rules::find(key));
        let base = match rule.kind() {
            FROM_SP => sp,
            FROM_BP if bp >= sp && bp < limit => bp,
            _ => usize::MAX / 2,
        };
        (rule, base, base.wrapping_add(rule.return_offset()))
    }

    /// Whether the kept frame at `top` has its caller's SP so far above its slot.
    ///
    /// # Safety
    /// As for [`holding`](Self::holding).
    #[inline(always)]
    pub(super) unsafe fn has_span(&self, top: *const Word, span: Span) -> bool {
        // SAFETY: by this function's contract; there are as many prefixes as kept frames.
        unsafe { self.prefixes.get_unchecked(top.offset_from_unsigned(self.kept.as_ptr())).span == span }
    }

    /// The innermost kept frame that may still match, now that the walk has found the slot and the address of the one at `top`: that one
    /// if it and all older ones hold.
    ///
    /// # Safety
    /// `top` is in the array of kept frames, and not the one of number 0.
    #[inline(never)]
    unsafe fn holding(&mut self, top: *const Word, bp: usize) -> *const Word {
        // SAFETY: by this function's contract. A frame that is neither unverifiable nor more than its state lies on this thread's own
        // stack with the words of older frames, above the frame that the walk is at.
        unsafe {
            let kept = self.kept.as_ptr();
            let number = top.offset_from_unsigned(kept);
            let &Prefix { bp: kept_bp, dependencies, flags, .. } = self.prefixes.get_unchecked(number);
            let state = flags & !MODULES;
            if state != 0 && (state != BP_IS_USED || kept_bp != bp) {
                return top.sub(1);
            }
            if number > self.verified {
                self.verified = first_changed(kept, self.verified, number);
                if self.verified < number {
                    return kept.add(self.verified - 1);
                }
            }
            let dependencies = dependencies as usize;
            let unchanged = first_changed(self.dependencies.as_ptr(), 0, dependencies);
            if unchanged == dependencies { top } else { kept.add(self.independent_of(number, unchanged)) }
        }
    }

    /// The innermost kept frame below `number` that does not depend on the word of this index.
    #[cold]
    fn independent_of(&self, number: usize, dependency: usize) -> usize {
        let depends = |prefix: &Prefix| prefix.dependencies as usize > dependency;
        self.prefixes[1..number].iter().position(depends).unwrap_or(number - 1)
    }

    /// The innermost kept frame up to `top` that may match after a step that may have changed stacks.
    #[cold]
    fn verifiable(&self, top: usize) -> usize {
        let holds = |prefix: &Prefix| prefix.flags & UNVERIFIABLE == 0;
        self.prefixes[1..=top.min(KEPT_MAX)].iter().rposition(holds).map_or(0, |index| index + 1)
    }
}

/// The rule at hand, what it counts from, and the slot of the return address, if it counts from BP.
#[inline(always)]
pub(super) fn rule_from_bp(probed: Probed, sp: usize, bp: usize, limit: usize) -> Option<(Rule, usize, usize)> {
    let rule = probed.rule_from_bp().filter(|_| bp >= sp && bp < limit)?;
    Some((rule, bp, bp.wrapping_add(probed.return_offset())))
}

/// The index of the first of the `words` in `from..to` whose slot does not hold its value any more, or `to`.
///
/// # Safety
/// There are `to` words, and the slots of those from `from` on are readable.
#[inline(always)]
unsafe fn first_changed(words: *const Word, from: usize, to: usize) -> usize {
    let holds = |index: usize| {
        // SAFETY: index < to, which is in range and has a readable slot by this function's contract.
        unsafe {
            let word = words.add(index);
            load((*word).slot) == (*word).value
        }
    };
    let mut index = from;
    // PERF: four at a time, a compare and a branch each: 3.3 instructions a word.
    while index + 4 <= to && holds(index) && holds(index + 1) && holds(index + 2) && holds(index + 3) {
        index += 4;
    }
    while index < to && holds(index) {
        index += 1;
    }
    index
}
