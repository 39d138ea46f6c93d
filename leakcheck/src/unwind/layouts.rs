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

use super::frames::{Prefix, Recognised, Word};
use super::keep::{BP_IS_USED, NO_MATCH, UNVERIFIABLE};
use super::machine::{self, code_address};
use super::rules;
use super::stack_bounds::load;
use super::walk::{Registers, Unwinder, rule_from_bp};

/// Layouts remembered per thread.
const LAYOUTS: usize = 1024;
/// Words of the inner part, at most. A multiple of [`STRIDE`].
const INNER_MAX: usize = 40;
/// After so many misfits, stacks with this SP are told apart by their innermost frames, too. Where even those go with ever new layouts, a
/// layout is replaced only after twice as many misfits each time: learning them then costs more than it saves.
const MISFITS_EAGER: u16 = 8;
/// After so many stacks of the kind were learnt, it is tried again whether there is one layout for the SP.
const MISFITS_FORGOTTEN: u16 = 1024;
/// Frames that a tag may tell apart, beginning with the recorder's own.
const GLANCED: usize = 8;
/// A junction is moved inward once that spares so many words.
const INNER_SPARED: usize = 4;
/// Inner words that are hashed at a time.
const STRIDE: usize = 4;

pub(super) type Layouts = [Layout; LAYOUTS];

/// Where the words of a stack lie. All zeroes fit no stack.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Layout {
    /// SP, or a hash of it and the innermost frames.
    tag: usize,
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
    /// How often stacks with this tag lay otherwise or had no such junction.
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
const fn place(tag: usize) -> usize {
    (tag as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> (64 - LAYOUTS.ilog2())
}

impl Unwinder {
    /// The key of the calling stack, if its layout is known: equal keys, equal stacks. One that was not learnt before gets a key that none
    /// of the learnt ones has. Only whole stacks have keys.
    ///
    /// # Safety
    /// As for [`walk_from`](Self::walk_from).
    #[inline(always)]
    pub unsafe fn recognise(&self, registers: Registers) -> Recognised {
        let layout = &self.layouts[place(registers.sp)];
        if layout.tag != registers.sp || layout.generation != rules::generation() {
            return Recognised::NOTHING;
        }
        // SAFETY: passed on from this function's contract.
        let key = unsafe { self.key(layout, registers) };
        Recognised { key, held: if key.is_some() { layout.junction.into() } else { 0 } }
    }

    /// The same with a look at the innermost frames, where stacks with this SP have had many layouts. Costs about 100 instructions more.
    ///
    /// # Safety
    /// As for [`walk_from`](Self::walk_from).
    #[inline(never)]
    pub unsafe fn recognise_among_many(&self, registers: Registers) -> Recognised {
        // SAFETY: passed on from this function's contract.
        let tag = unsafe { self.tag(registers) };
        let layout = &self.layouts[place(tag)];
        if tag == registers.sp || layout.tag != tag || layout.generation != rules::generation() {
            return Recognised::NOTHING;
        }
        // SAFETY: as above.
        let key = unsafe { self.key(layout, registers) };
        Recognised { key, held: if key.is_some() { layout.junction.into() } else { 0 } }
    }

    /// Remembers the layout of the stack that was just walked, and returns the key by which it will be recognised.
    ///
    /// # Safety
    /// As for [`walk_from`](Self::walk_from), with the registers of the last walk.
    #[inline(never)]
    pub unsafe fn learn(&mut self, registers: Registers) -> Option<u64> {
        let top = self.kept_count as usize;
        if self.whole_count == 0 || self.prefixes[top].flags & UNVERIFIABLE != 0 {
            return None;
        }
        // SAFETY: passed on from this function's contract.
        let tag = unsafe { self.tag(registers) };
        if tag != registers.sp {
            self.note_manifold(registers.sp);
        }
        let place = place(tag);
        let known = &self.layouts[place];
        let unchanged = top.checked_sub(self.last.changed as usize)?;
        let (mut junction, mut misfits) = (unchanged, 0);
        if known.tag == tag && known.generation == self.generation {
            (junction, misfits) = (usize::from(known.junction), known.misfits);
            if junction <= unchanged && self.fits(known, registers.sp) {
                if misfits > 0 || junction + INNER_SPARED > unchanged {
                    // SAFETY: passed on from this function's contract.
                    return unsafe { self.key(known, registers) };
                }
                // Outer frames that are compared cost half as much as inner ones that are hashed.
                junction = unchanged;
            } else {
                misfits = misfits.saturating_add(1);
                let moved = top.saturating_sub(usize::from(known.frame_count));
                junction = if misfits == 1 { moved } else { junction.min(unchanged) };
            }
        }
        if misfits > MISFITS_EAGER + 1 && !misfits.is_power_of_two() {
            self.layouts[place].misfits = misfits;
            return None;
        }
        let layout = self.layout(tag, registers, junction)?;
        self.layouts[place] = Layout { misfits, ..layout };
        // SAFETY: passed on from this function's contract.
        unsafe { self.key(&self.layouts[place], registers) }
    }

    /// Now and then, what was found of a SP with many layouts is forgotten: that may be over.
    fn note_manifold(&mut self, sp: usize) {
        let by_sp = &mut self.layouts[place(sp)];
        by_sp.misfits += 1;
        if by_sp.misfits == MISFITS_FORGOTTEN {
            by_sp.tag = 0;
        }
    }

    /// What layouts of the calling stack are found by: SP, or where that went with many layouts, a hash of it and the innermost frames.
    ///
    /// # Safety
    /// As for [`walk_from`](Self::walk_from).
    #[inline(always)]
    unsafe fn tag(&self, registers: Registers) -> usize {
        let Registers { pc, sp, mut bp } = registers;
        let by_sp = &self.layouts[place(sp)];
        if by_sp.tag != sp || by_sp.misfits <= MISFITS_EAGER {
            return sp;
        }
        let limit = self.bounds.limit_if_known(sp);
        let (mut tag, mut sp, mut key) = (sp as u64, sp, pc);
        for _ in 0..GLANCED {
            // Whatever this finds: it only chooses where to look.
            let probed = rules::probe(key);
            let (rule, base, slot) = match probed.rule_from_sp() {
                Some(rule) => (rule, sp, sp.wrapping_add(probed.return_offset())),
                None if !machine::BP_IS_FREQUENT => break,
                None => match rule_from_bp(probed, sp, bp, limit) {
                    Some(found) => found,
                    None => break,
                },
            };
            if slot >= limit {
                break;
            }
            let saved = base.wrapping_add(rule.saved_offset());
            // SAFETY: sp <= base <= saved <= slot < limit, on the thread's own stack.
            let address = unsafe {
                if machine::BP_IS_FREQUENT && saved != slot {
                    bp = load(saved);
                }
                load(slot)
            };
            tag = (tag ^ address as u64).wrapping_mul(JUNCTION_FACTOR).rotate_left(29);
            (sp, key) = (rule.caller_sp(base, slot), code_address(address).wrapping_sub(1));
        }
        // Odd, as no SP is.
        tag as usize | 1
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
            && bp_is_used == (layout.bp != 0)
            && self.kept[junction].slot == slot(layout.junction_offset)
            && frames.iter().zip(of_frames).all(|(word, &offset)| word.slot == slot(offset))
            && dependencies.iter().zip(rest).all(|(word, &offset)| word.slot == slot(offset))
    }

    /// The layout of the kept stack with this junction, if it can have one there.
    fn layout(&self, tag: usize, registers: Registers, junction: usize) -> Option<Layout> {
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
            tag,
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
            rules::FROM_BP if is_used => bp,
            _ => return None,
        };
        if is_used {
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

    /// The hash of the words in a layout, if the junction is there and the kept frames up to it hold.
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
        // SAFETY: the junction lies on the thread's own stack, above SP, and so do all older frames; the words of the inner part lie
        // between SP and the junction. A junction has the number STRIDE at least.
        unsafe {
            if !all_hold(self.kept.as_ptr().add(1), junction) {
                return None;
            }
            let mut dependency = self.dependencies.as_ptr();
            let dependencies_end = dependency.add(prefix.dependencies as usize);
            while dependency != dependencies_end {
                if !holds(dependency) {
                    return None;
                }
                dependency = dependency.add(1);
            }
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
