//! Compiled unwind rules: code address → one 30-bit rule, in a table that all threads share.
//!
//! Nearly every unwind row says "CFA = SP or BP + constant, BP saved at CFA − constant or unchanged"; that fits one word together
//! with the address it is for, so an entry is read and written by single relaxed accesses and can never be torn. 16,384 entries
//! of 8 bytes, shared: a new thread starts warm and pays no memory. Two ways: an address lives at its index or at the neighbour.
//!
//! Deliberately not here: reading the stack.
//!
//! Rules of modules that may be unloaded: see `unloadable.rs`. A walk by rules of a module that is gone may go astray until it is
//! noticed; reads stay inside the stack all the same.

use super::cfi::{self, Cfa, Row, Saved};
use super::machine::{self, ADDRESS_BITS, BP, INSTRUCTION_ALIGN_LOG2, RETURN_ADDRESS, SP, Span, signal_frame};
use super::modules;
use super::reference::{self, Simple};
use super::unloadable;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const INDEX_BITS: u32 = 14;
const ENTRIES: usize = 1 << INDEX_BITS;

/// An entry is `instruction << ADDRESS_SHIFT ^ rule`, with the bit [`DISPLACED`] where it lies at the neighbour of its own index. The
/// instruction is its address without the bits that are the same for all. Its low 14 bits are the index, so an entry says for all bits
/// of a user-space address whether it is meant.
///
/// Accepted: a garbage return address outside user space is read as its low bits. Reads stay inside the stack all the same.
const ADDRESS_SHIFT: u32 = 64 - ADDRESS_BITS + INSTRUCTION_ALIGN_LOG2;
const DISPLACED: u64 = 1 << 30;
const RULES_END: u64 = 1 << 30;

/// What [`prepare`] and [`clear`] fill the table with: the entry of an address in the middle of user space, where no code lies.
const EMPTY: u64 = 1 << 63;

/// Two entries of a set share an aligned pair, so the second look hits the same cache line.
#[repr(align(64))]
struct Table([AtomicU64; ENTRIES]);

// Every access to an entry is relaxed: the word is all there is to it.
static TABLE: Table = Table([const { AtomicU64::new(0) }; ENTRIES]);
static COMPILED: AtomicU64 = AtomicU64::new(0);
static VICTIM: AtomicU32 = AtomicU32::new(0);
static GENERATION: AtomicU32 = AtomicU32::new(1);

/// How to get from one frame to its caller: 2 bits of kind, 14 bits of where the machine has BP and CFA, 14 bits of the return address
/// slot, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule(u32);

const KIND_SHIFT: u32 = 28;
const FIELD_BITS: u32 = 14;
const FIELD_MAX: usize = (1 << FIELD_BITS) - 1;

/// The return address and the saved BP lie above SP.
pub(super) const FROM_SP: u32 = 0;
/// The same, above BP.
pub(super) const FROM_BP: u32 = 1;
/// A realigned frame: the word at BP − `return_offset` is the CFA; BP is saved at BP.
pub(super) const REALIGNED: u32 = 2;
/// None of these: one of the constants of [`Rule`].
const SPECIAL: u32 = 3;

impl Rule {
    /// The outermost frame: its return address is undefined.
    pub(super) const ROOT: Self = Self(SPECIAL << KIND_SHIFT);
    /// No unwind table covers the address.
    pub(super) const MISSING: Self = Self(SPECIAL << KIND_SHIFT | 1);
    /// A signal trampoline with the kernel's frame on top of the stack.
    pub(super) const SIGNAL: Self = Self(SPECIAL << KIND_SHIFT | 2);
    /// Needs the interpreter.
    pub(super) const FULL: Self = Self(SPECIAL << KIND_SHIFT | 3);

    #[inline(always)]
    pub(super) fn kind(self) -> u32 {
        self.0 >> KIND_SHIFT
    }

    /// Bytes from the base to the slot of the return address.
    #[inline(always)]
    pub(super) fn return_offset(self) -> usize {
        (self.0 as usize & FIELD_MAX) * 8
    }

    /// Bytes from the base to the slot of the saved BP, never above the return address; equal to it where BP is unchanged.
    #[inline(always)]
    pub(super) fn saved_offset(self) -> usize {
        machine::saved_offset(self.placing(), self.return_offset())
    }

    /// The SP of the caller, who is returned to by way of `slot`, which is [`return_offset`](Self::return_offset) above `base`.
    #[inline(always)]
    pub(super) fn caller_sp(self, base: usize, slot: usize) -> usize {
        machine::caller_sp(self.placing(), base, slot)
    }

    /// How far the caller's SP lies above the slot of the return address.
    #[inline(always)]
    pub(super) fn span(self) -> Span {
        Span::of(self.placing(), self.return_offset())
    }

    #[inline(always)]
    fn placing(self) -> usize {
        self.0 as usize >> FIELD_BITS & FIELD_MAX
    }

    /// Whether it is one of the constants.
    #[inline(always)]
    pub(super) fn is_special(self) -> bool {
        self.0 >= SPECIAL << KIND_SHIFT
    }

    fn new(kind: u32, return_offset: usize, placing: usize) -> Option<Self> {
        let fits = return_offset.is_multiple_of(8) && return_offset / 8 <= FIELD_MAX && placing <= FIELD_MAX;
        let fields = (placing << FIELD_BITS) | (return_offset / 8);
        fits.then_some(Self((kind << KIND_SHIFT) | fields as u32))
    }
}

/// What the table has at the index of an address.
#[derive(Clone, Copy)]
pub(super) struct Probed {
    entry: u64,
    rest: u64,
}

impl Probed {
    #[inline(always)]
    const fn new(entry: u64, address: u64) -> Self {
        Self { entry, rest: entry ^ address }
    }

    /// The rule, if it is for that address and of the most frequent kind, [`FROM_SP`].
    #[inline(always)]
    pub(super) fn rule_from_sp(self) -> Option<Rule> {
        (self.rest < 1 << KIND_SHIFT).then_some(Rule(self.rest as u32))
    }

    /// The rule, if it is for that address and [`FROM_BP`].
    #[inline(always)]
    pub(super) fn rule_from_bp(self) -> Option<Rule> {
        (self.rest >> KIND_SHIFT == u64::from(FROM_BP)).then_some(Rule(self.rest as u32))
    }

    /// The rule, if it is for that address.
    #[inline(always)]
    pub(super) fn rule(self) -> Option<Rule> {
        (self.rest < RULES_END).then_some(Rule(self.rest as u32))
    }

    /// What [`Rule::return_offset`] will be if there is a rule. Available sooner, and each step of a walk waits for it: the
    /// address does not reach these bits of an entry.
    #[inline(always)]
    pub(super) fn return_offset(self) -> usize {
        (self.entry as usize & FIELD_MAX) * 8
    }
}

/// Looks at one entry, the one at the index of `key`.
#[inline(always)]
pub(super) fn probe(key: usize) -> Probed {
    let (index, address) = place(key);
    Probed::new(TABLE.0[index].load(Ordering::Relaxed), address)
}

/// The index of a code address, and what it is in an entry.
#[inline(always)]
const fn place(key: usize) -> (usize, u64) {
    let instruction = key >> INSTRUCTION_ALIGN_LOG2;
    (instruction % ENTRIES, (instruction as u64) << ADDRESS_SHIFT)
}

/// The rule for `key`, compiled now if need be.
#[cold]
#[inline(never)]
pub(super) fn find(key: usize) -> Rule {
    if key >> ADDRESS_BITS != 0 {
        return Rule::MISSING; // Not a user-space address.
    }
    let (index, address) = place(key);
    let neighbour = Probed::new(TABLE.0[index ^ 1].load(Ordering::Relaxed), address ^ DISPLACED);
    if let Some(rule) = neighbour.rule() {
        return rule;
    }
    let (may_be_kept, is_another_gone) = unloadable::list(key);
    if is_another_gone {
        clear();
    }
    let generation = generation();
    let rule = cfi::row_at(key).map_or(Rule::MISSING, |found| compile(&found));
    COMPILED.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
    // What is missing may be found once the loader's list is read again.
    let is_final = rule != Rule::MISSING || modules::is_permanent(key);
    if may_be_kept && is_final && generation == self::generation() {
        insert(index, address ^ u64::from(rule.0));
    }
    rule
}

fn insert(index: usize, entry: u64) {
    let (own, neighbour) = (&TABLE.0[index], &TABLE.0[index ^ 1]);
    let occupant = own.load(Ordering::Relaxed);
    // An entry at its own index has this bit as its address has it; one of the neighbour's has not.
    let is_guest = (occupant ^ (index as u64) << ADDRESS_SHIFT) & DISPLACED != 0;
    // Relaxed: which entry is evicted does not matter.
    let take_own = occupant == EMPTY
        || is_guest
        || (neighbour.load(Ordering::Relaxed) != EMPTY && VICTIM.fetch_add(1, Ordering::Relaxed).is_multiple_of(2));
    if take_own {
        own.store(entry, Ordering::Relaxed);
    } else {
        neighbour.store(entry ^ DISPLACED, Ordering::Relaxed);
    }
}

/// Forgets all rules and every thread's kept walk, because code may have moved.
pub(super) fn clear() {
    // Release: a thread that sees the new number finds none of the old rules.
    empty();
    GENERATION.fetch_add(1, Ordering::Release);
    // Once more: a thread may have compiled by the old tables meanwhile.
    empty();
}

fn empty() {
    for entry in &TABLE.0 {
        entry.store(EMPTY, Ordering::Relaxed);
    }
}

/// Rises with every [`clear`].
#[inline(always)]
pub(super) fn generation() -> u32 {
    // Relaxed: a walk that overlaps a `clear` may use either set of rules.
    GENERATION.load(Ordering::Relaxed)
}

/// Rules compiled so far, evicted ones that came back included.
pub(super) fn compiled() -> u64 {
    COMPILED.load(Ordering::Relaxed) // Relaxed: a counter.
}

/// Resolves what compiling needs. Not for the hook.
pub(super) fn prepare() {
    modules::prepare();
    // Only the table as the program was loaded has zeroes, which would be rules for addresses next to zero.
    for entry in &TABLE.0 {
        // Relaxed: see above; a walk that is going on (a second recording begins) may store a rule first.
        let _ = entry.compare_exchange(0, EMPTY, Ordering::Relaxed, Ordering::Relaxed);
    }
    // Kept walks and layouts of an earlier recording may be of another depth.
    GENERATION.fetch_add(1, Ordering::Release);
}

fn compile(found: &cfi::Found) -> Rule {
    let row = &found.row;
    if row.registers[RETURN_ADDRESS] == Saved::Undefined {
        Rule::ROOT
    } else if row.is_signal_frame {
        if is_kernel_frame(found) { Rule::SIGNAL } else { Rule::FULL }
    } else {
        compile_register(row).or_else(|| compile_realigned(found)).unwrap_or(Rule::FULL)
    }
}

fn compile_register(row: &Row) -> Option<Rule> {
    let Cfa::Register { register, offset } = row.cfa else {
        return None;
    };
    let kind = match usize::from(register) {
        SP => FROM_SP,
        BP => FROM_BP,
        _ => return None,
    };
    let Saved::At(return_at) = row.registers[RETURN_ADDRESS] else {
        return None;
    };
    if row.registers[SP] != Saved::Unchanged {
        return None;
    }
    // At the base or above: what the walk relies on to stay inside the stack.
    let above_base = |at: i32| usize::try_from(offset.checked_add(i64::from(at))?).ok();
    let return_offset = above_base(return_at)?;
    let saved_offset = match row.registers[BP] {
        Saved::Unchanged => return_offset,
        // Below the return address, for the same reason.
        Saved::At(at) => above_base(at).filter(|&saved| saved < return_offset)?,
        _ => return None,
    };
    Rule::new(kind, return_offset, machine::placing(above_base(0)?, return_offset, saved_offset)?)
}

/// The prologue that GCC emits to realign the stack: CFA = word at BP − n, BP saved at BP.
fn compile_realigned(found: &cfi::Found) -> Option<Rule> {
    let row = &found.row;
    let (Cfa::Expression(cfa), Saved::AtExpression(saved)) = (row.cfa, row.registers[BP]) else {
        return None;
    };
    let Simple { register: BP, offset, dereferenced: true } = reference::simple(found, cfa)? else {
        return None;
    };
    let Simple { register: BP, offset: 0, dereferenced: false } = reference::simple(found, saved)? else {
        return None;
    };
    if row.registers[RETURN_ADDRESS] != Saved::At(-8) || row.registers[SP] != Saved::Unchanged {
        return None;
    }
    Rule::new(REALIGNED, usize::try_from(offset.checked_neg()?).ok()?, 0)
}

/// Whether the row of a signal trampoline says just what [`signal_frame`] says.
fn is_kernel_frame(found: &cfi::Found) -> bool {
    let sp_is_cfa = found.row.cfa == Cfa::Register { register: SP as u8, offset: 0 };
    let is_at = |register: usize, above_sp: usize| match found.row.registers[register] {
        Saved::At(offset) => sp_is_cfa && offset as usize == above_sp,
        Saved::AtExpression(expression) => {
            reference::simple(found, expression)
                == Some(Simple { register: SP, offset: above_sp as i64, dereferenced: false })
        }
        _ => false,
    };
    is_at(BP, signal_frame::BP) && is_at(SP, signal_frame::SP) && is_at(RETURN_ADDRESS, signal_frame::PC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_packing() {
        let new = |kind, cfa, return_offset, saved_offset| {
            Rule::new(kind, return_offset, machine::placing(cfa, return_offset, saved_offset)?)
        };
        // Frames that all machines can have.
        let most = FIELD_MAX / 2 * 8 - 8;
        for (kind, return_offset, saved_offset) in
            [(FROM_SP, 8, 8), (FROM_SP, 8, 0), (FROM_BP, 8, 0), (FROM_SP, most, most), (FROM_BP, most, most - 8)]
        {
            let rule = new(kind, return_offset + 8, return_offset, saved_offset).expect("fits");
            assert_eq!((rule.kind(), rule.return_offset(), rule.saved_offset()), (kind, return_offset, saved_offset));
            assert_eq!(rule.caller_sp(4096, 4096 + return_offset), 4096 + return_offset + 8);
        }
        assert_eq!(new(FROM_SP, FIELD_MAX * 8 + 24, FIELD_MAX * 8 + 16, 0), None);
        assert_eq!(new(FROM_SP, 20, 12, 12), None);
        for special in [Rule::ROOT, Rule::MISSING, Rule::SIGNAL, Rule::FULL] {
            assert_eq!(special.kind(), SPECIAL);
        }
    }

    #[test]
    fn a_rule_is_compiled_once_and_then_found() {
        prepare();
        let (key, ..) = machine::registers_here();
        let rule = find(key);
        assert_ne!(rule.kind(), SPECIAL);
        assert!(probe(key).rule().is_none_or(|probed| probed == rule));
        assert_eq!(find(key), rule);
    }

    #[test]
    fn addresses_outside_user_space_are_missing() {
        prepare();
        for key in [usize::MAX, usize::MAX - 1, 1 << ADDRESS_BITS, 0, 1, 4096, 8191, 8192, 0x3fff] {
            // Some of them may be in one instruction.
            assert!(probe(key).rule().is_none_or(|rule| rule == Rule::MISSING));
            assert_eq!(find(key), Rule::MISSING);
        }
    }

    /// Both ways, with addresses that share an index, its neighbour, or all bits but one with others.
    #[test]
    fn a_rule_is_found_under_its_address_only() {
        prepare();
        let (start, rules) = (0x1234_5670_0000usize, [FROM_SP, FROM_BP, REALIGNED]);
        let keys: Vec<usize> =
            (INSTRUCTION_ALIGN_LOG2..ADDRESS_BITS).map(|bit| start ^ (1 << bit)).chain([start]).collect();
        for (number, &key) in keys.iter().enumerate() {
            let rule = Rule::new(rules[number % 3], 8 * number, 0).expect("fits");
            let (index, address) = place(key);
            insert(index, address ^ u64::from(rule.0));
            assert!(probe(key).rule() == Some(rule) || find(key) == rule);
            for (other, &other_key) in keys.iter().enumerate() {
                if let Some(found) = probe(other_key).rule() {
                    assert_eq!(found.return_offset(), 8 * other, "{other_key:#x}");
                }
            }
        }
    }
}
