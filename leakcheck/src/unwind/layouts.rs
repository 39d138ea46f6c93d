//! Recognising a stack without unwinding it: by where its words lie.
//!
//! Most allocations of a program come from stacks that were walked before. Which words of the stack a walk reads depends on nothing
//! but the registers and those words, so where a walk with the same stack pointer once read its words (its *layout*), the words
//! there are read again, all at once instead of one after the other, and their hash says which stack it is. The outer part of
//! a layout is the kept frames up to a *junction*, which are compared as in a walk; the inner part is hashed.
//!
//! Why that is exact: let the hash be that of an earlier walk, made with the same layout. Then the words are those of that walk,
//! and so is BP where it mattered; each step of a new walk would read the same word in the same place, and so reach the junction
//! with the same SP and BP; and from there the kept frames hold. (Two different sets of words with one 64-bit hash are taken to be impossible, as
//! everywhere in the recorder.)
//!
//! Deliberately not here: what a stack is called. The key stands for a stack; whoever asks remembers what for.

use super::frames::{Prefix, Way, Word};
use super::keep::{BP_IS_USED, NO_MATCH, UNVERIFIABLE};
use super::machine::{self, code_address};
use super::rules;
use super::stack_bounds::load;
use super::unloadable::MODULES;
use super::walk::{Registers, Unwinder};
use core::sync::atomic::{Ordering, compiler_fence};

/// Layouts remembered per thread.
const LAYOUTS: usize = 2048;
/// Places that a layout may have: where its SP says, and next to it.
const WAYS: usize = 4;
/// Words of the inner part, at most. A multiple of [`STRIDE`].
const INNER_MAX: usize = 40;
/// Inner frames, outermost first, that tell layouts apart.
const TELLING: core::ops::Range<usize> = 0..4;
/// Where all places are taken, learning costs more than it saves. Every so many stacks are learnt all the same, as what took the
/// places may be over; so many finds it takes to put another layout first.
const RELUCTANCE: u32 = 64;
/// A junction is moved inward once that spares so many words.
const INNER_SPARED: usize = 4;
/// Inner words that are hashed at a time.
pub(super) const STRIDE: usize = 4;

pub(super) type Layouts = [Layout; LAYOUTS];

/// Where the words of a stack lie. All zeroes fit no stack.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Layout {
    sp: usize,
    /// Hash of all that follows.
    salt: u64,
    /// The unwinder's generation that this is for.
    generation: u32,
    /// Number of the kept frame at which the inner part ends.
    junction: u16,
    /// Its slot, in words above SP.
    junction_offset: u16,
    /// Where BP is found, if it matters: 0 if not, 1 for the register, or words above SP, plus 2.
    bp: u16,
    /// BP itself, in words above SP, plus 1, if the innermost frame is found by it; else 0.
    own_bp: u16,
    /// Inner frames.
    frame_count: u16,
    /// Inner words: the slots of those frames, and what else these depend on.
    word_count: u16,
    /// The same with some that fill the last stride.
    inner_count: u16,
    /// How many layouts with this SP there were before.
    misfits: u16,
    /// Words above SP of the inner part.
    inner: [u16; INNER_MAX],
}

/// Odd numbers without pattern: the words' factors in the hash (a multilinear hash; Lemire and Kaser 2014).
const FACTORS: [u64; INNER_MAX] = {
    let (mut factors, mut state, mut index) = ([0; INNER_MAX], 0x9e37_79b9_7f4a_7c15_u64, 0);
    while index < INNER_MAX {
        // splitmix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        factors[index] = (mixed ^ (mixed >> 31)) | 1;
        index += 1;
    }
    factors
};
const JUNCTION_FACTOR: u64 = 0xd6e8_feb8_6659_fd93;
const JUNCTION_BP_FACTOR: u64 = 0xa076_1d64_78bd_642f;
const BP_FACTOR: u64 = 0xe703_7ed1_a0b4_28db;

#[inline(always)]
const fn place(sp: usize) -> usize {
    (sp as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> (64 - LAYOUTS.ilog2())
}

impl Unwinder {
    /// What is known of the calling stack by its key, if it has a layout that was learnt. Equal keys, equal stacks; only whole stacks in
    /// modules that stay have keys.
    ///
    /// # Safety
    /// As for [`walk_from`](Self::walk_from).
    #[inline(always)]
    pub unsafe fn recognise<T>(&self, registers: Registers, known: impl FnMut(u64) -> Option<T>) -> Option<T> {
        let layout = &self.layouts[place(registers.sp)];
        if layout.sp != registers.sp || layout.generation != rules::generation() {
            return None;
        }
        // SAFETY: passed on from this function's contract.
        unsafe { self.recognise_by(layout, registers, known) }
    }

    /// The same with the other layouts that this SP was met with. Now and then, one that was found is put first.
    ///
    /// # Safety
    /// As for [`walk_from`](Self::walk_from).
    #[inline(always)]
    pub unsafe fn recognise_otherwise<T>(
        &self,
        registers: Registers,
        mut known: impl FnMut(u64) -> Option<T>,
    ) -> Option<(T, Way)> {
        let (first, generation) = (place(registers.sp), rules::generation());
        (1..WAYS).find_map(|way| {
            let layout = &self.layouts[first ^ way];
            // SAFETY: passed on from this function's contract, here and below.
            if layout.sp != registers.sp || layout.generation != generation || !unsafe { self.may_fit(layout) } {
                return None;
            }
            // SAFETY: as above.
            unsafe { self.recognise_by(layout, registers, &mut known) }.map(|found| (found, Way(way)))
        })
    }

    /// Notes that a stack was recognised by a layout that is not the first one with its SP: now and then, it becomes the first.
    #[inline(always)]
    pub fn note_way(&mut self, registers: Registers, way: Way) {
        self.found_behind = self.found_behind.wrapping_add(1);
        if self.found_behind.is_multiple_of(RELUCTANCE) {
            self.put_first(registers.sp, way);
        }
    }

    #[cold]
    #[inline(never)]
    fn put_first(&mut self, sp: usize, way: Way) {
        let first = place(sp);
        let behind = first ^ (way.0 % WAYS);
        let (one, other) = (self.layouts[first], self.layouts[behind]);
        self.put(first, other);
        self.put(behind, one);
    }

    /// Writes a layout. A signal handler that never returns here must not leave one that is half written: without SP it fits no stack.
    fn put(&mut self, place: usize, layout: Layout) {
        let target = &mut self.layouts[place];
        target.sp = 0;
        compiler_fence(Ordering::SeqCst);
        *target = Layout { sp: 0, ..layout };
        compiler_fence(Ordering::SeqCst);
        target.sp = layout.sp;
    }

    /// # Safety
    /// As for [`walk_from`](Self::walk_from), and the layout is for this SP and of this thread.
    #[inline(always)]
    unsafe fn recognise_by<T>(
        &self,
        layout: &Layout,
        registers: Registers,
        mut known: impl FnMut(u64) -> Option<T>,
    ) -> Option<T> {
        // SAFETY: passed on from this function's contract, here and below. What no key of a learnt stack says need not be compared.
        let found = known(unsafe { self.key(layout, registers) }?)?;
        // SAFETY: as above; a layout with a key has a junction among the kept frames.
        unsafe { self.hold_up_to(usize::from(layout.junction)) }.then_some(found)
    }

    /// Whether the rules of a few frames lead from one slot of the layout to the next, as a look at each on its own tells.
    ///
    /// # Safety
    /// As for [`walk_from`](Self::walk_from), and the layout is for this SP and of this thread.
    #[inline(always)]
    unsafe fn may_fit(&self, layout: &Layout) -> bool {
        let slot = |number: usize| layout.sp + usize::from(layout.inner[number]) * 8;
        if !machine::SP_FOLLOWS_SLOT
            || usize::from(layout.frame_count) <= TELLING.end
            || !self.bounds.contain(layout.sp, slot(TELLING.end))
        {
            return true;
        }
        TELLING.into_iter().all(|number| {
            // SAFETY: the slots lie between SP and one that is on the thread's own stack.
            let probed = rules::probe(code_address(unsafe { load(slot(number + 1)) }).wrapping_sub(1));
            probed.rule_from_sp().is_none() || slot(number + 1) + 8 + probed.return_offset() == slot(number)
        })
    }

    /// Whether to walk and [`learn`](Self::learn) a stack whose hash is known already.
    #[inline(always)]
    pub fn is_worth_learning(&mut self, registers: Registers) -> bool {
        self.not_learnt = self.not_learnt.wrapping_add(1);
        self.free_place(registers.sp).is_some() || self.not_learnt.is_multiple_of(RELUCTANCE)
    }

    /// A place for a layout with this SP where none of this generation is.
    fn free_place(&self, sp: usize) -> Option<usize> {
        let places = (0..WAYS).map(|way| place(sp) ^ way);
        places.into_iter().find(|&place| self.layouts[place].generation != self.generation)
    }

    /// Remembers the layout of the stack that was just walked, and returns the key by which it will be recognised.
    ///
    /// # Safety
    /// As for [`walk_from`](Self::walk_from), with the registers of the last walk.
    #[inline(never)]
    pub unsafe fn learn(&mut self, registers: Registers) -> Option<u64> {
        let top = self.kept_count as usize;
        if self.whole_count == 0 || self.prefixes[top].flags & (UNVERIFIABLE | MODULES) != 0 {
            return None;
        }
        let unchanged = top.checked_sub(self.last.changed as usize)?;
        let (mut junction, mut misfits, mut chosen) = (unchanged, 0, None);
        for place in (0..WAYS).map(|way| place(registers.sp) ^ way) {
            let known = &self.layouts[place];
            if known.sp != registers.sp || known.generation != self.generation {
                continue;
            }
            let known_junction = usize::from(known.junction);
            if known_junction <= unchanged && self.fits(known, registers.sp) {
                if known.misfits > 0 || known_junction + INNER_SPARED > unchanged {
                    // SAFETY: passed on from this function's contract.
                    return unsafe { self.key(known, registers) };
                }
                // Outer frames that are compared cost half as much as inner ones that are hashed.
                (junction, chosen) = (unchanged, Some(place));
                break;
            }
            let moved = top.saturating_sub(usize::from(known.frame_count));
            junction = if known.misfits == 0 { moved } else { known_junction.min(unchanged) };
            misfits = known.misfits.saturating_add(1);
        }
        let first = place(registers.sp);
        let victim = first ^ ((self.not_learnt / RELUCTANCE) as usize % WAYS);
        let place = chosen.or_else(|| self.free_place(registers.sp)).unwrap_or(victim);
        let layout = Layout { misfits, ..self.layout(registers, junction)? };
        self.put(place, self.layouts[first]);
        self.put(first, layout);
        // SAFETY: passed on from this function's contract.
        unsafe { self.key(&self.layouts[first], registers) }
    }

    /// Whether the words of the kept stack lie where the layout says.
    #[inline(always)]
    fn fits(&self, layout: &Layout, sp: usize) -> bool {
        let (junction, top) = (usize::from(layout.junction), self.kept_count as usize);
        let slot = |offset: u16| sp + usize::from(offset) * 8;
        let frames = &self.kept[junction + 1..=top];
        let range = self.prefixes[junction].dependencies as usize..self.prefixes[top].dependencies as usize;
        let Some(dependencies) = self.dependencies.get(range) else { return false };
        let (of_frames, rest) = layout.inner.split_at(frames.len().min(INNER_MAX));
        let bp_is_used = self.prefixes[top].flags & BP_IS_USED != 0;
        usize::from(layout.word_count) == frames.len() + dependencies.len()
            && (!bp_is_used || layout.bp != 0)
            && self.kept[junction].slot == slot(layout.junction_offset)
            && frames.iter().zip(of_frames).all(|(word, &offset)| word.slot == slot(offset))
            && dependencies.iter().zip(rest).all(|(word, &offset)| word.slot == slot(offset))
    }

    /// The layout of the kept stack with this junction, if it can have one there.
    fn layout(&self, registers: Registers, junction: usize) -> Option<Layout> {
        let Registers { pc, sp, bp } = registers;
        let top = self.kept_count as usize;
        if junction < STRIDE || junction > top || self.prefixes[junction].flags & (UNVERIFIABLE | NO_MATCH) != 0 {
            return None;
        }
        let offset = |slot: usize| {
            let bytes = slot.checked_sub(sp)?;
            if bytes % 8 == 0 { u16::try_from(bytes / 8).ok() } else { None }
        };
        let mut layout = Layout {
            sp,
            salt: 0,
            generation: self.generation,
            junction: junction as u16,
            junction_offset: offset(self.kept[junction].slot)?,
            bp: 0,
            own_bp: 0,
            frame_count: (top - junction) as u16,
            word_count: 0,
            inner_count: 0,
            misfits: 0,
            inner: [0; INNER_MAX],
        };
        let rule = rules::probe(pc).rule().unwrap_or_else(|| rules::find(pc));
        let is_used = self.prefixes[top].flags & BP_IS_USED != 0;
        let base = match rule.kind() {
            rules::FROM_SP => sp,
            rules::FROM_BP => bp,
            _ => return None,
        };
        if is_used || rule.kind() == rules::FROM_BP {
            let is_saved = rule.saved_offset() != rule.return_offset();
            layout.bp = if is_saved { offset(base.wrapping_add(rule.saved_offset()))?.checked_add(2)? } else { 1 };
            layout.own_bp = if rule.kind() == rules::FROM_BP { offset(bp)?.checked_add(1)? } else { 0 };
        }
        let dependencies = self.prefixes[junction].dependencies as usize..self.prefixes[top].dependencies as usize;
        let words = self.kept[junction + 1..=top].iter().chain(self.dependencies.get(dependencies)?);
        let mut count = 0;
        for word in words {
            *layout.inner.get_mut(count)? = offset(word.slot).filter(|&offset| offset < layout.junction_offset)?;
            count += 1;
        }
        layout.word_count = count as u16;
        while count % STRIDE != 0 {
            *layout.inner.get_mut(count)? = layout.junction_offset;
            count += 1;
        }
        layout.inner_count = count as u16;
        let header = [layout.junction, layout.junction_offset, layout.bp, layout.word_count];
        let salted = layout.inner[..count].iter().chain(&header).fold(u64::from(layout.generation), |salt, &number| {
            (salt ^ u64::from(number)).wrapping_mul(JUNCTION_FACTOR).rotate_left(29)
        });
        layout.salt = salted;
        Some(layout)
    }

    /// The hash of the words in a layout, if the junction is among the kept frames. It stands for a stack if these still hold.
    ///
    /// # Safety
    /// As for [`walk_from`](Self::walk_from), and the layout is for this SP and of this thread.
    #[inline(always)]
    unsafe fn key(&self, layout: &Layout, registers: Registers) -> Option<u64> {
        let Registers { sp, bp, .. } = registers;
        let junction = usize::from(layout.junction);
        let slot = sp + usize::from(layout.junction_offset) * 8;
        // SAFETY: a junction is the number of a frame that may be kept, below KEPT_MAX.
        let (word, prefix) = unsafe { (self.kept.get_unchecked(junction), self.prefixes.get_unchecked(junction)) };
        if word.slot != slot || junction > self.whole_count as usize || !self.bounds.contain(sp, slot) {
            return None;
        }
        let mut key =
            prefix.running.wrapping_mul(JUNCTION_FACTOR).wrapping_add(layout.salt).wrapping_add(prefix.span.term());
        if prefix.flags != 0 || layout.bp != 0 {
            // SAFETY: passed on from this function's contract; all is on the thread's own stack, as below.
            key = key.wrapping_add(unsafe { bp_term(prefix, layout, sp, bp) }?);
        }
        // SAFETY: the words of the inner part lie between SP and the junction, which lies on the thread's own stack, above SP.
        unsafe {
            let (mut offset, mut factor) = (layout.inner.as_ptr(), FACTORS.as_ptr());
            let end = offset.add(usize::from(layout.inner_count));
            let term = |offset: *const u16, factor: *const u64| {
                (load(sp + usize::from(*offset) * 8) as u64).wrapping_mul(*factor)
            };
            while offset != end {
                let first = term(offset, factor).wrapping_add(term(offset.add(1), factor.add(1)));
                let second = term(offset.add(2), factor.add(2)).wrapping_add(term(offset.add(3), factor.add(3)));
                key = key.wrapping_add(first).wrapping_add(second);
                (offset, factor) = (offset.add(STRIDE), factor.add(STRIDE));
            }
        }
        Some(key)
    }

    /// Whether the kept frames up to this one, and the words they depend on, still hold.
    ///
    /// # Safety
    /// So many frames are kept, [`STRIDE`] at least; this one and so all older ones lie on the calling thread's own stack, above SP.
    #[inline(always)]
    pub(super) unsafe fn hold_up_to(&self, number: usize) -> bool {
        // SAFETY: by this function's contract. There are no more dependencies than places for them.
        unsafe {
            let mut dependency = self.dependencies.as_ptr();
            let dependencies_end = dependency.add(self.prefixes.get_unchecked(number).dependencies as usize);
            if !all_hold(self.kept.as_ptr().add(1), number) {
                return false;
            }
            while dependency != dependencies_end {
                if !holds(dependency) {
                    return false;
                }
                dependency = dependency.add(1);
            }
            true
        }
    }
}

/// What BP adds to a key, where it matters; none where the junction cannot be one.
///
/// # Safety
/// The place of the saved BP in the layout is readable.
#[cold]
#[inline(never)]
unsafe fn bp_term(junction: &Prefix, layout: &Layout, sp: usize, bp: usize) -> Option<u64> {
    let at_junction = match junction.flags {
        0 => 0,
        BP_IS_USED => (junction.bp as u64).wrapping_mul(JUNCTION_BP_FACTOR),
        _ => return None,
    };
    if layout.own_bp != 0 && bp != sp + usize::from(layout.own_bp - 1) * 8 {
        return None;
    }
    let caller_bp = match layout.bp {
        0 => return Some(at_junction),
        1 => bp,
        // SAFETY: by this function's contract.
        offset => unsafe { load(sp + usize::from(offset - 2) * 8) },
    };
    Some(at_junction.wrapping_add((caller_bp as u64).wrapping_mul(BP_FACTOR)))
}

/// Whether the slot of the word still holds its value.
///
/// # Safety
/// There is such a word, and its slot is readable.
#[inline(always)]
unsafe fn holds(word: *const Word) -> bool {
    // SAFETY: by this function's contract.
    unsafe { load((*word).slot) == (*word).value }
}

/// Whether the slots of all `count` words still hold their values.
///
/// # Safety
/// There are so many words, [`STRIDE`] at least, and their slots are readable.
#[inline(always)]
unsafe fn all_hold(words: *const Word, count: usize) -> bool {
    let four_hold =
        // SAFETY: called for words in range, whose slots are readable by this function's contract.
        |word: *const Word| unsafe { holds(word) && holds(word.add(1)) && holds(word.add(2)) && holds(word.add(3)) };
    // SAFETY: all places are below `count`.
    unsafe {
        // PERF: 3.25 instructions a word. Where the count is no multiple of the stride, the first two strides overlap.
        if !four_hold(words) {
            return false;
        }
        let mut at = words.add(count);
        let last = words.add(STRIDE);
        while at > last {
            at = at.sub(STRIDE);
            if !four_hold(at) {
                return false;
            }
        }
        true
    }
}
