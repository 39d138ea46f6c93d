//! Compiled unwind rules, shared by all threads.
//!
//! Nearly every row of call-frame information says "the CFA is SP or BP plus a constant, the return address lies right
//! below it, and BP is unchanged or saved at another constant". Such a row fits into 31 bits, and the code address that
//! it belongs to into the other 33 together with its place in the table; so an entry is one word, and reading it is one
//! load that cannot be torn.

use std::sync::atomic::{AtomicU64, Ordering};

const TABLE_LOG2: u32 = 15;
const RULE_BITS: u32 = 31;
const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;

/// How to get from a frame to its caller. Offsets are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// CFA = SP + `cfa`; BP is unchanged.
    Sp { cfa: u32 },
    /// CFA = SP + `cfa`; BP is saved at CFA − `bp`.
    SpSavedBp { cfa: u32, bp: u32 },
    /// CFA = BP + `cfa`; BP is unchanged.
    Bp { cfa: u32 },
    /// CFA = BP + `cfa`; BP is saved at CFA − `bp`.
    BpSavedBp { cfa: u32, bp: u32 },
    /// The CFA is stored at BP − `cfa_at`, the caller's BP at BP itself: GCC's way to realign a stack.
    Realigned { cfa_at: u32 },
    /// The kernel's signal trampoline: SP points to the interrupted context.
    Signal,
    /// The outermost frame.
    Root,
    /// Unwind information there is, but of a kind not supported.
    Unsupported,
}

/// Two-way set-associative; one page of it holds 512 addresses.
static TABLE: [AtomicU64; 1 << TABLE_LOG2] = [const { AtomicU64::new(0) }; 1 << TABLE_LOG2];

const KIND_SP: u32 = 1;
const KIND_SP_SAVED_BP: u32 = 2;
const KIND_BP: u32 = 3;
const KIND_BP_SAVED_BP: u32 = 4;
const KIND_REALIGNED: u32 = 5;
const KIND_SIGNAL: u32 = 6;
const KIND_ROOT: u32 = 7;
const KIND_UNSUPPORTED: u32 = 8;

/// Kind in 4 bits, the CFA's offset in units of 8 in 15, BP's in 11; the highest bit is [`SECOND_WAY`].
fn pack(rule: Rule) -> Option<u32> {
    let (kind, cfa, bp) = match rule {
        Rule::Sp { cfa } => (KIND_SP, cfa, 0),
        Rule::SpSavedBp { cfa, bp } => (KIND_SP_SAVED_BP, cfa, bp),
        Rule::Bp { cfa } => (KIND_BP, cfa, 0),
        Rule::BpSavedBp { cfa, bp } => (KIND_BP_SAVED_BP, cfa, bp),
        Rule::Realigned { cfa_at } => (KIND_REALIGNED, cfa_at, 0),
        Rule::Signal => (KIND_SIGNAL, 0, 0),
        Rule::Root => (KIND_ROOT, 0, 0),
        Rule::Unsupported => (KIND_UNSUPPORTED, 0, 0),
    };
    let fits = cfa % 8 == 0 && bp % 8 == 0 && cfa / 8 < 1 << 15 && bp / 8 < 1 << 11;
    fits.then_some(kind | (cfa / 8) << 4 | (bp / 8) << 19)
}

#[inline(always)]
fn unpack(word: u32) -> Rule {
    let (cfa, bp) = ((word >> 4 & 0x7fff) * 8, (word >> 19 & 0x7ff) * 8);
    match word & 15 {
        KIND_SP => Rule::Sp { cfa },
        KIND_SP_SAVED_BP => Rule::SpSavedBp { cfa, bp },
        KIND_BP => Rule::Bp { cfa },
        KIND_BP_SAVED_BP => Rule::BpSavedBp { cfa, bp },
        KIND_REALIGNED => Rule::Realigned { cfa_at: cfa },
        KIND_SIGNAL => Rule::Signal,
        KIND_ROOT => Rule::Root,
        _ => Rule::Unsupported,
    }
}

/// Place and tag of an address. Multiplying by an odd number is a bijection modulo 2^48, so the two together are the
/// address.
#[inline(always)]
const fn place_and_tag(address: u64) -> (usize, u64) {
    let spread = address.wrapping_mul(0x9e37_79b9_7f4b) & ADDRESS_MASK;
    ((spread >> (ADDRESS_BITS - TABLE_LOG2)) as usize, spread & ((1 << (ADDRESS_BITS - TABLE_LOG2)) - 1))
}

/// The compiled rule of a code address, if it is in the table.
#[inline(always)]
pub(super) fn find(address: u64) -> Option<Rule> {
    let (place, tag) = place_and_tag(address);
    // Relaxed: an entry is one word and says all there is.
    let first = TABLE[place].load(Ordering::Relaxed);
    if first >> RULE_BITS == tag && first & SECOND_WAY == 0 && first != 0 {
        return Some(unpack(first as u32 & RULE_MASK));
    }
    // An address whose own place is taken is kept in the neighbouring one, marked as a guest there.
    let second = TABLE[place ^ 1].load(Ordering::Relaxed);
    (second >> RULE_BITS == tag && second & SECOND_WAY != 0).then(|| unpack(second as u32 & RULE_MASK))
}

/// Marks an entry that stands in its neighbour's place.
const SECOND_WAY: u64 = 1 << (RULE_BITS - 1);
const RULE_MASK: u32 = (SECOND_WAY - 1) as u32;

/// Keeps the rule of a code address. What does not fit is found again each time.
pub(super) fn remember(address: u64, rule: Rule) {
    let Some(word) = pack(rule) else { return };
    let (place, tag) = place_and_tag(address);
    let entry = tag << RULE_BITS | u64::from(word);
    // Relaxed: as in `find`. Racing writers each leave a true entry.
    let first = TABLE[place].load(Ordering::Relaxed);
    if first != 0 && first & SECOND_WAY == 0 {
        // The one that was here moves next door; a guest gives way.
        TABLE[place ^ 1].store(first | SECOND_WAY, Ordering::Relaxed);
    }
    TABLE[place].store(entry, Ordering::Relaxed);
}

/// Forgets everything: code was loaded or unloaded.
pub(super) fn forget_all() {
    for entry in &TABLE {
        entry.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_survive_packing() {
        for rule in [
            Rule::Sp { cfa: 8 },
            Rule::SpSavedBp { cfa: 262_136, bp: 16_376 },
            Rule::Bp { cfa: 16 },
            Rule::BpSavedBp { cfa: 16, bp: 16 },
            Rule::Realigned { cfa_at: 8 },
            Rule::Signal,
            Rule::Root,
            Rule::Unsupported,
        ] {
            assert_eq!(pack(rule).map(unpack), Some(rule));
        }
        assert_eq!(pack(Rule::Sp { cfa: 262_144 }), None);
        assert_eq!(pack(Rule::Sp { cfa: 12 }), None);
    }

    #[test]
    fn what_is_found_is_always_true() {
        let rule_of = |address: u64| Rule::SpSavedBp { cfa: (address % 1000) as u32 * 8, bp: 16 };
        let addresses: Vec<u64> = (0..40_000).map(|n| 0x5555_5555_0000 + n * 7).collect();
        for address in &addresses {
            remember(*address, rule_of(*address));
            assert_eq!(find(*address), Some(rule_of(*address)));
        }
        let found: Vec<_> = addresses.iter().filter(|address| find(**address).is_some()).collect();
        assert!(found.len() > 15_000, "{}", found.len());
        assert!(found.iter().all(|address| find(**address) == Some(rule_of(**address))));
        assert_eq!(find(0x5555_5555_0000 + 40_000 * 7), None);
    }
}
