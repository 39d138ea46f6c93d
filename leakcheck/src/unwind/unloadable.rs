//! Modules that may be unloaded, and whether those that kept rules and frames came from are still the same.
//!
//! Rules are kept by address, and where a library was unloaded another may lie. So a module that was not there when the program
//! started is listed when the first rule of it is compiled, each kept frame says which listed modules it and the older frames lie
//! in, and after a walk those are asked for. Only modules on the walked stack are read, which nobody can unload meanwhile.
//!
//! Deliberately not here: libraries of a loader without `_dl_find_object`; for these the rules are forgotten at each
//! [`refresh_modules`](super::refresh_modules).

use super::keep::UNVERIFIABLE;
use super::modules::{self, Object};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Most modules listed; rules of others are not kept.
const LISTED_MAX: usize = 24;

/// A frame's flags say which listed modules it and the older ones lie in: one bit each, from this one on.
const FIRST_BIT: u32 = 8;
pub(super) const MODULES: u32 = u32::MAX << FIRST_BIT;
const _: () = assert!(FIRST_BIT as usize + LISTED_MAX == u32::BITS as usize);

/// A listed module. Every field is relaxed but `start`, which is [`FREE`], [`BEING_WRITTEN`], or covers the others.
struct Listed {
    start: AtomicUsize,
    end: AtomicUsize,
    identity: AtomicUsize,
}

const FREE: usize = 0;
const BEING_WRITTEN: usize = 1;

static LISTED: [Listed; LISTED_MAX] =
    [const { Listed { start: AtomicUsize::new(FREE), end: AtomicUsize::new(0), identity: AtomicUsize::new(0) } };
        LISTED_MAX];
/// Whether any module was ever listed. Relaxed: a module is listed by the walk that meets it, or was before it was handed on.
static ANY: AtomicBool = AtomicBool::new(false);

impl Listed {
    /// Start, end and identity, if a module is listed here.
    fn get(&self) -> Option<(usize, usize, usize)> {
        // Acquire: pairs with the release of `start`.
        let start = self.start.load(Ordering::Acquire);
        let (end, identity) = (self.end.load(Ordering::Relaxed), self.identity.load(Ordering::Relaxed));
        // Acquire fence: the second look at `start` happens after the others. What a reader may mistake for a module is a mixture
        // of two, which is none's identity.
        fence(Ordering::Acquire);
        (start > BEING_WRITTEN && self.start.load(Ordering::Relaxed) == start).then_some((start, end, identity))
    }

    fn remove(&self, start: usize) {
        // Relaxed: nothing is published. If another thread removed it already, it may hold a new one by now.
        let _ = self.start.compare_exchange(start, FREE, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Whether a rule of the code at `pc`, which is on this thread's stack, may be kept, and whether rules kept so far must be forgotten.
pub(super) fn list(pc: usize) -> (bool, bool) {
    if !modules::tells_objects() || modules::is_permanent(pc) {
        return (true, false);
    }
    // Code that no module holds may be followed by a module.
    let Some(object) = modules::object_at(pc) else { return (false, false) };
    let identity = object.identity();
    let (mut is_listed, mut is_another_gone) = (false, false);
    for listed in &LISTED {
        if let Some((start, end, known)) = listed.get() {
            if (start, end, known) == (object.start, object.end, identity) {
                is_listed = true;
            } else if start < object.end && object.start < end {
                listed.remove(start);
                is_another_gone = true;
            }
        }
    }
    (is_listed || add(&object, identity), is_another_gone)
}

fn add(object: &Object, identity: usize) -> bool {
    LISTED.iter().any(|listed| {
        // Acquire: what follows stays behind it.
        let claimed = listed.start.compare_exchange(FREE, BEING_WRITTEN, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if claimed {
            listed.end.store(object.end, Ordering::Relaxed);
            listed.identity.store(identity, Ordering::Relaxed);
            ANY.store(true, Ordering::Relaxed);
            // Release: publishes the others.
            listed.start.store(object.start, Ordering::Release);
        }
        claimed
    })
}

/// Whether any module may be unloaded, as far as walks have met one.
#[inline(always)]
pub(super) fn any() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// The flag of the listed module that holds the call before the return address; [`UNVERIFIABLE`] for one that is not listed and may
/// be unloaded.
#[cold]
pub(super) fn flag_of(return_address: usize) -> u32 {
    let pc = return_address.wrapping_sub(1);
    let place = LISTED.iter().position(|listed| listed.get().is_some_and(|(start, end, _)| (start..end).contains(&pc)));
    match place {
        Some(place) => 1 << (FIRST_BIT as usize + place),
        None if modules::is_permanent(pc) => 0,
        None => UNVERIFIABLE,
    }
}

/// Whether the modules of these flags, all on this thread's stack, are the ones that were listed. Those that are not are taken off
/// the list.
#[cold]
#[inline(never)]
pub(super) fn are_unchanged(flags: u32) -> bool {
    let mut are_unchanged = true;
    for (place, listed) in LISTED.iter().enumerate() {
        if flags & 1 << (FIRST_BIT as usize + place) == 0 {
            continue;
        }
        let is_same = listed.get().is_some_and(|(start, end, identity)| {
            let is_same = modules::object_at(start)
                .is_some_and(|object| (object.start, object.end) == (start, end) && object.identity() == identity);
            if !is_same {
                listed.remove(start);
            }
            is_same
        });
        are_unchanged &= is_same;
    }
    are_unchanged
}
