//! Where the unwind information of a code address lies: a table of loaded modules that the hook reads without locks.
//!
//! The loader's list is read outside the hook only (its lock may be held by a thread that is loading a library and
//! allocates). Code of a library that was loaded after the last look is unknown for that long: stacks through it end
//! there, and are counted as truncated.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// A module's code and unwind information.
#[derive(Debug, Clone, Copy)]
pub(super) struct Module {
    start: u64,
    end: u64,
    /// Address of `.eh_frame_hdr`.
    pub(super) eh_frame_hdr: u64,
    /// End of the segment that `.eh_frame_hdr` and `.eh_frame` lie in.
    pub(super) readable_end: u64,
}

/// Sorted by address. Replaced as a whole; earlier ones are kept for readers that may still look at them.
static MODULES: AtomicPtr<Vec<Module>> = AtomicPtr::new(ptr::null_mut());
/// The loader's counts of libraries loaded and unloaded, as of the table.
static LOADS: AtomicU64 = AtomicU64::new(0);
static UNLOADS: AtomicU64 = AtomicU64::new(0);

/// The module that an address lies in.
pub(super) fn module_of(address: u64) -> Option<Module> {
    // Acquire: pairs with the release of `refresh`.
    // SAFETY: the table is null or a leaked vector, never written after publication.
    let modules = unsafe { MODULES.load(Ordering::Acquire).as_ref() }?;
    let after = modules.partition_point(|module| module.start <= address);
    modules.get(after.checked_sub(1)?).copied().filter(|module| address < module.end)
}

/// Reads the loader's list again if it changed. Returns whether it did, and whether anything was unloaded. Must not be
/// called from inside the hook.
pub(super) fn refresh() -> (bool, bool) {
    let mut counts = Counts { loads: 0, unloads: 0 };
    // SAFETY: the callback matches the declared type, and `counts` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(read_counts), (&raw mut counts).cast()) };
    let known = (LOADS.load(Ordering::Relaxed), UNLOADS.load(Ordering::Relaxed));
    // Relaxed: only the thread that refreshes writes them.
    if !MODULES.load(Ordering::Relaxed).is_null() && known == (counts.loads, counts.unloads) {
        return (false, false);
    }
    LOADS.store(counts.loads, Ordering::Relaxed);
    UNLOADS.store(counts.unloads, Ordering::Relaxed);
    let mut modules: Vec<Module> = Vec::new();
    // SAFETY: as above.
    unsafe { libc::dl_iterate_phdr(Some(add_module), (&raw mut modules).cast()) };
    modules.sort_by_key(|module| module.start);
    // Release: publishes the finished table. The old one is leaked: a few kilobytes per change of the library list.
    MODULES.store(Box::into_raw(Box::new(modules)), Ordering::Release);
    (true, known.1 != counts.unloads)
}

struct Counts {
    loads: u64,
    unloads: u64,
}

unsafe extern "C" fn read_counts(info: *mut libc::dl_phdr_info, _: usize, counts: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the loader passes a valid description, and `counts` is what was given to `dl_iterate_phdr`.
    let (info, counts) = unsafe { (&*info, &mut *counts.cast::<Counts>()) };
    counts.loads = info.dlpi_adds;
    counts.unloads = info.dlpi_subs;
    1
}

unsafe extern "C" fn add_module(info: *mut libc::dl_phdr_info, _: usize, modules: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the loader passes a valid description, and `modules` is what was given to `dl_iterate_phdr`.
    let (info, modules) = unsafe { (&*info, &mut *modules.cast::<Vec<Module>>()) };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the header table has `dlpi_phnum` entries.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let span = |header: &libc::Elf64_Phdr| {
        let start = info.dlpi_addr.wrapping_add(header.p_vaddr);
        (start, start.wrapping_add(header.p_memsz))
    };
    let Some(hdr) = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME).map(span) else { return 0 };
    let loaded = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(span);
    let (Some(start), Some(end)) = (loaded().map(|s| s.0).min(), loaded().map(|s| s.1).max()) else { return 0 };
    let holds_hdr = loaded().find(|(start, end)| (*start..*end).contains(&hdr.0));
    let Some((_, readable_end)) = holds_hdr else { return 0 };
    modules.push(Module { start, end, eh_frame_hdr: hdr.0, readable_end });
    0
}
