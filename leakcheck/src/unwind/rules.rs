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

use super::cfi::{self, Cfa, RBP, RETURN_ADDRESS, RSP, Row, Saved};
use super::modules;
use super::reference::{self, Simple};
use super::unloadable;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const INDEX_BITS: u32 = 14;
const ENTRIES: usize = 1 << INDEX_BITS;

/// An entry is `address << 17 ^ rule`, with the bit [`DISPLACED`] where it lies at the neighbour of its own index. The low
/// 14 bits of the address are the index, so an entry says for all 47 bits of a user-space address whether it is meant.
///
/// Accepted: a garbage return address at or above 2^47 is read as its low 47 bits. Reads stay inside the stack all the same.
const ADDRESS_SHIFT: u32 = 17;
const DISPLACED: u64 = 1 << 30;
const RULES_END: u64 = 1 << 30;

/// What [`prepare`] and [`clear`] fill the table with: the entry of an address near 2^46, where no code lies.
const EMPTY: u64 = 1 << 63;

/// Two entries of a set share an aligned pair, so the second look hits the same cache line.
#[repr(align(64))]
struct Table([AtomicU64; ENTRIES]);

// Every access to an entry is relaxed: the word is all there is to it.
static TABLE: Table = Table([const { AtomicU64::new(0) }; ENTRIES]);
static COMPILED: AtomicU64 = AtomicU64::new(0);
static VICTIM: AtomicU32 = AtomicU32::new(0);
static GENERATION: AtomicU32 = AtomicU32::new(1);

/// How to get from one frame to its caller: 2 bits of kind, 14 bits of the saved BP, 14 bits of the return address slot, in words.
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
        (self.0 as usize >> FIELD_BITS & FIELD_MAX) * 8
    }

    /// Whether it is one of the constants.
    #[inline(always)]
    pub(super) fn is_special(self) -> bool {
        self.0 >= SPECIAL << KIND_SHIFT
    }

    fn new(kind: u32, return_offset: usize, saved_offset: usize) -> Option<Self> {
        let fits = |offset: usize| offset.is_multiple_of(8) && offset / 8 <= FIELD_MAX;
        let fields = ((saved_offset / 8) << FIELD_BITS) | (return_offset / 8);
        (fits(return_offset) && fits(saved_offset)).then_some(Self((kind << KIND_SHIFT) | fields as u32))
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
    Probed::new(TABLE.0[key % ENTRIES].load(Ordering::Relaxed), (key as u64) << ADDRESS_SHIFT)
}

/// The rule for `key`, compiled now if need be.
#[cold]
#[inline(never)]
pub(super) fn find(key: usize) -> Rule {
    if key >> (64 - ADDRESS_SHIFT) != 0 {
        return Rule::MISSING; // Not a user-space address.
    }
    let index = key % ENTRIES;
    let address = (key as u64) << ADDRESS_SHIFT;
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
    if may_be_kept && generation == self::generation() {
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
        RSP => FROM_SP,
        RBP => FROM_BP,
        _ => return None,
    };
    if row.registers[RETURN_ADDRESS] != Saved::At(-8) || row.registers[RSP] != Saved::Unchanged {
        return None;
    }
    let return_offset = usize::try_from(offset).ok()?.checked_sub(8)?;
    let saved_offset = match row.registers[RBP] {
        Saved::Unchanged => return_offset,
        // At the base or above, below the return address: what the walk relies on to stay inside the stack.
        Saved::At(at) => {
            usize::try_from(offset.checked_add(i64::from(at))?).ok().filter(|&saved| saved < return_offset)?
        }
        _ => return None,
    };
    Rule::new(kind, return_offset, saved_offset)
}

/// The prologue that GCC emits to realign the stack: CFA = word at BP − n, BP saved at BP.
fn compile_realigned(found: &cfi::Found) -> Option<Rule> {
    let row = &found.row;
    let (Cfa::Expression(cfa), Saved::AtExpression(saved)) = (row.cfa, row.registers[RBP]) else {
        return None;
    };
    let Simple { register: RBP, offset, dereferenced: true } = reference::simple(found, cfa)? else {
        return None;
    };
    let Simple { register: RBP, offset: 0, dereferenced: false } = reference::simple(found, saved)? else {
        return None;
    };
    if row.registers[RETURN_ADDRESS] != Saved::At(-8) || row.registers[RSP] != Saved::Unchanged {
        return None;
    }
    Rule::new(REALIGNED, usize::try_from(offset.checked_neg()?).ok()?, 0)
}

/// Where the kernel's signal frame keeps the interrupted registers, in bytes above SP in the trampoline.
pub(super) mod kernel_frame {
    pub(in super::super) const RBP: usize = 120;
    pub(in super::super) const RSP: usize = 160;
    pub(in super::super) const RIP: usize = 168;
}

/// Whether the row of a signal trampoline says just what [`kernel_frame`] says.
fn is_kernel_frame(found: &cfi::Found) -> bool {
    let above_sp = |saved: Saved, at: usize| {
        matches!(saved, Saved::AtExpression(expression)
            if reference::simple(found, expression)
                == Some(Simple { register: RSP, offset: at as i64, dereferenced: false }))
    };
    let Cfa::Expression(cfa) = found.row.cfa else {
        return false;
    };
    let registers = &found.row.registers;
    reference::simple(found, cfa)
        == Some(Simple { register: RSP, offset: kernel_frame::RSP as i64, dereferenced: true })
        && above_sp(registers[RBP], kernel_frame::RBP)
        && above_sp(registers[RSP], kernel_frame::RSP)
        && above_sp(registers[RETURN_ADDRESS], kernel_frame::RIP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_packing() {
        let most = FIELD_MAX * 8;
        for (kind, return_offset, saved_offset) in
            [(FROM_SP, 0, 0), (FROM_SP, 8, 0), (FROM_BP, 8, 8), (FROM_SP, most, most), (REALIGNED, 8, 0)]
        {
            let rule = Rule::new(kind, return_offset, saved_offset).expect("fits");
            assert_eq!((rule.kind(), rule.return_offset(), rule.saved_offset()), (kind, return_offset, saved_offset));
        }
        assert_eq!(Rule::new(FROM_SP, most + 8, 0), None);
        assert_eq!(Rule::new(FROM_SP, 12, 0), None);
        for special in [Rule::ROOT, Rule::MISSING, Rule::SIGNAL, Rule::FULL] {
            assert_eq!(special.kind(), SPECIAL);
        }
    }

    #[test]
    fn a_rule_is_compiled_once_and_then_found() {
        prepare();
        let key = libc::qsort as *const () as usize + 1;
        let rule = find(key);
        assert_ne!(rule.kind(), SPECIAL);
        assert!(probe(key).rule().is_none_or(|probed| probed == rule));
        assert_eq!(find(key), rule);
    }

    #[test]
    fn addresses_outside_user_space_are_missing() {
        prepare();
        for key in [usize::MAX, usize::MAX - 1, 1 << 47, 0, 1, 4096, 8191, 8192, 0x3fff] {
            assert_eq!(probe(key).rule(), None);
            assert_eq!(find(key), Rule::MISSING);
        }
    }

    /// Both ways, with addresses that share an index, its neighbour, or all bits but one with others.
    #[test]
    fn a_rule_is_found_under_its_address_only() {
        prepare();
        let (start, rules) = (0x1234_5670_0000usize, [FROM_SP, FROM_BP, REALIGNED]);
        let keys: Vec<usize> = (0..47).map(|bit| start ^ (1 << bit)).chain([start]).collect();
        for (number, &key) in keys.iter().enumerate() {
            let rule = Rule::new(rules[number % 3], 8 * number, 0).expect("fits");
            insert(key % ENTRIES, (key as u64) << ADDRESS_SHIFT ^ u64::from(rule.0));
            assert!(probe(key).rule() == Some(rule) || find(key) == rule);
            for (other, &other_key) in keys.iter().enumerate() {
                if let Some(found) = probe(other_key).rule() {
                    assert_eq!(found.return_offset(), 8 * other, "{other_key:#x}");
                }
            }
        }
    }
}
