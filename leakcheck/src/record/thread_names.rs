//! Names of threads, kept once each.

use super::sites::Site;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Distinct names kept; threads beyond have none in the report.
const NAMES_MAX: usize = 1024;

/// The kernel's thread names are 15 bytes and a zero.
struct Name {
    state: AtomicU8,
    low: AtomicU64,
    high: AtomicU64,
}

const EMPTY: u8 = 0;
const BEING_WRITTEN: u8 = 1;
const READY: u8 = 2;

static NAMES: [Name; NAMES_MAX] =
    [const { Name { state: AtomicU8::new(EMPTY), low: AtomicU64::new(0), high: AtomicU64::new(0) } }; NAMES_MAX];

/// A thread whose name could not be kept.
const NAMELESS: u16 = u16::MAX;

/// Notes at `site` that the calling thread allocates there. `name` is where the thread keeps its name's number.
pub(super) fn note(name: &mut u16, site: &Site) {
    if *name == 0 {
        *name = number_of_caller();
    }
    if *name != NAMELESS {
        site.note_thread(*name);
    }
}

/// The name of a number given by [`note`].
pub(super) fn name_of(number: u16) -> Option<String> {
    let name = NAMES.get(usize::from(number).checked_sub(1)?)?;
    // Acquire: pairs with the release that made it ready.
    if name.state.load(Ordering::Acquire) != READY {
        return None;
    }
    let mut bytes = [0_u8; 17];
    bytes[..8].copy_from_slice(&name.low.load(Ordering::Relaxed).to_ne_bytes());
    bytes[8..16].copy_from_slice(&name.high.load(Ordering::Relaxed).to_ne_bytes());
    CStr::from_bytes_until_nul(&bytes).ok().map(|text| text.to_string_lossy().into_owned())
}

fn number_of_caller() -> u16 {
    let mut bytes = [0_u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes.
    if unsafe { libc::prctl(libc::PR_GET_NAME, bytes.as_mut_ptr()) } != 0 {
        return NAMELESS;
    }
    let (low, high) = bytes.split_at(8);
    let word =
        |half: &[u8]| u64::from_ne_bytes([half[0], half[1], half[2], half[3], half[4], half[5], half[6], half[7]]);
    number_of(word(low), word(high))
}

fn number_of(low: u64, high: u64) -> u16 {
    for (place, name) in NAMES.iter().enumerate() {
        // Acquire: pairs with the release below.
        let mut state = name.state.load(Ordering::Acquire);
        if state == EMPTY {
            match name.state.compare_exchange(EMPTY, BEING_WRITTEN, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    name.low.store(low, Ordering::Relaxed);
                    name.high.store(high, Ordering::Relaxed);
                    // Release: publishes the words.
                    name.state.store(READY, Ordering::Release);
                    return place as u16 + 1;
                }
                Err(other) => state = other,
            }
        }
        // A name that another thread is just writing is passed over: at worst it is kept twice.
        let same = || name.low.load(Ordering::Relaxed) == low && name.high.load(Ordering::Relaxed) == high;
        if state == READY && same() {
            return place as u16 + 1;
        }
    }
    NAMELESS
}
