//! Finding the unwind tables (`.eh_frame_hdr`, `.eh_frame`) that cover a code address, from inside an allocator hook.
//!
//! With glibc 2.35 or newer `_dl_find_object` answers without a lock and without allocating. Older versions have only
//! `dl_iterate_phdr`, which takes the loader's lock: there a fixed table of modules is filled by [`refresh`], outside the hook,
//! and a module that is newer than the last refresh has no tables yet.
//!
//! Deliberately not here: names, build ids, symbols. The recorder's symbol side lists modules for itself.

use core::ffi::{c_int, c_void};
use core::mem::{MaybeUninit, size_of};
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::Once;

/// Most modules the table for old glibc versions holds; the others have no unwind tables.
const MODULES_MAX: usize = 512;

/// The unwind tables of one module, as the loader mapped them.
#[derive(Clone, Copy)]
pub(super) struct Sections {
    pub(super) header_address: usize,
    pub(super) header: &'static [u8],
    pub(super) frames_address: usize,
    pub(super) frames: &'static [u8],
}

/// What the loader says of a module: where its program headers and its `PT_GNU_EH_FRAME` segment are.
#[derive(Clone, Copy)]
struct Module {
    bias: usize,
    program_headers: usize,
    program_header_count: usize,
    frame_header: usize,
}

/// glibc's `struct dl_find_object` on 64-bit targets without `eh_dbase` and `eh_count`.
#[repr(C)]
struct FoundObject {
    flags: u64,
    map_start: usize,
    map_end: usize,
    /// `struct link_map`, whose first word is the load bias.
    link_map: *const usize,
    eh_frame: usize,
    reserved: [u64; 7],
}

type FindObject = unsafe extern "C" fn(*mut c_void, *mut FoundObject) -> c_int;

/// `_dl_find_object` once [`prepare`] found it, else 0. Relaxed: the word is all there is, and the function was there before us.
static FIND_OBJECT: AtomicUsize = AtomicUsize::new(0);

/// Resolves `_dl_find_object` and fills the table. Not for the hook: `dlsym` and `dl_iterate_phdr` lock.
pub(super) fn prepare() {
    // SAFETY: a NUL-terminated name; `dlsym` may be called by any thread, and the result is only compared and stored.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
    FIND_OBJECT.store(address.expose_provenance(), Ordering::Relaxed);
    note_permanent();
    refresh();
}

/// Takes the modules that are there at the first call to stay. Not for the hook.
pub(super) fn note_permanent() {
    static NOTED: Once = Once::new();
    NOTED.call_once(|| {
        refresh();
        let count = COUNT.load(Ordering::Relaxed);
        for (permanent, entry) in PERMANENT.iter().zip(&TABLE[..count]) {
            permanent.copy(entry);
        }
        // Release: pairs with the acquire in `permanent`.
        PERMANENT_COUNT.store(count, Ordering::Release);
    });
}

/// Whether [`object_at`] can tell anything.
pub(super) fn tells_objects() -> bool {
    FIND_OBJECT.load(Ordering::Relaxed) != 0
}

/// Whether the code at `pc` belongs to a module that is never unloaded.
pub(super) fn is_permanent(pc: usize) -> bool {
    permanent(pc).is_some()
}

fn permanent(pc: usize) -> Option<Module> {
    // Acquire: pairs with the release in `note_permanent`, after which the entries stay as they are.
    let count = PERMANENT_COUNT.load(Ordering::Acquire);
    PERMANENT[..count].iter().find_map(|entry| entry.covering(pc))
}

/// Notes which modules are loaded. True when that changed since the last call.
pub(super) fn refresh() -> bool {
    let mut listing = Listing { count: 0, changes: 0 };
    if BUSY.swap(true, Ordering::Acquire) {
        // Acquire pairs with the release below. Another thread is at it: nothing is lost, it reads the same list.
        return false;
    }
    // Odd while the table is being written. Release fence: no entry may become visible before the odd number.
    let version = VERSION.load(Ordering::Relaxed);
    VERSION.store(version.wrapping_add(1), Ordering::Relaxed);
    core::sync::atomic::fence(Ordering::Release);
    // SAFETY: the callback matches the declared type, keeps no pointer, and `listing` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note_module), (&raw mut listing).cast()) };
    COUNT.store(listing.count, Ordering::Relaxed);
    // Release: a reader that sees the even number sees the entries.
    VERSION.store(version.wrapping_add(2), Ordering::Release);
    let before = CHANGES.swap(listing.changes, Ordering::Relaxed); // Relaxed: only read under BUSY.
    BUSY.store(false, Ordering::Release); // Release: hands the table to the next one who refreshes.
    before != listing.changes
}

struct Listing {
    count: usize,
    changes: u64,
}

/// The modules that stay.
static PERMANENT: [Entry; MODULES_MAX] = [const { Entry::new() }; MODULES_MAX];
static PERMANENT_COUNT: AtomicUsize = AtomicUsize::new(0);

static BUSY: AtomicBool = AtomicBool::new(false);
static VERSION: AtomicU32 = AtomicU32::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);
static CHANGES: AtomicU64 = AtomicU64::new(0);

struct Entry {
    start: AtomicUsize,
    end: AtomicUsize,
    bias: AtomicUsize,
    program_headers: AtomicUsize,
    program_header_count: AtomicUsize,
    frame_header: AtomicUsize,
}

static TABLE: [Entry; MODULES_MAX] = [const { Entry::new() }; MODULES_MAX];

// Relaxed, all of it: a version or a count orders these.
impl Entry {
    const fn new() -> Self {
        Self {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            bias: AtomicUsize::new(0),
            program_headers: AtomicUsize::new(0),
            program_header_count: AtomicUsize::new(0),
            frame_header: AtomicUsize::new(0),
        }
    }

    fn set(&self, start: usize, end: usize, module: Module) {
        self.start.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        self.bias.store(module.bias, Ordering::Relaxed);
        self.program_headers.store(module.program_headers, Ordering::Relaxed);
        self.program_header_count.store(module.program_header_count, Ordering::Relaxed);
        self.frame_header.store(module.frame_header, Ordering::Relaxed);
    }

    fn module(&self) -> Module {
        Module {
            bias: self.bias.load(Ordering::Relaxed),
            program_headers: self.program_headers.load(Ordering::Relaxed),
            program_header_count: self.program_header_count.load(Ordering::Relaxed),
            frame_header: self.frame_header.load(Ordering::Relaxed),
        }
    }

    fn copy(&self, other: &Self) {
        self.set(other.start.load(Ordering::Relaxed), other.end.load(Ordering::Relaxed), other.module());
    }

    /// The module, if it holds `pc`.
    fn covering(&self, pc: usize) -> Option<Module> {
        let covers = (self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed)).contains(&pc);
        covers.then(|| self.module())
    }
}

unsafe extern "C" fn note_module(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid `info` for the length of the call, and `data` is the `Listing` of `refresh`.
    let (info, listing) = unsafe { (&*info, &mut *data.cast::<Listing>()) };
    listing.changes = info.dlpi_adds.wrapping_add(info.dlpi_subs.rotate_left(32));
    let bias = info.dlpi_addr as usize;
    let module = Module {
        bias,
        program_headers: info.dlpi_phdr.expose_provenance(),
        program_header_count: usize::from(info.dlpi_phnum),
        frame_header: 0,
    };
    let (mut start, mut end, mut frame_header) = (usize::MAX, 0, 0);
    for index in 0..module.program_header_count {
        // SAFETY: the loader vouches for `dlpi_phnum` headers at `dlpi_phdr`.
        let header = unsafe { module.program_header(index) };
        let address = bias.wrapping_add(header.p_vaddr as usize);
        match header.p_type {
            libc::PT_LOAD => {
                start = start.min(address);
                end = end.max(address.wrapping_add(header.p_memsz as usize));
            }
            libc::PT_GNU_EH_FRAME => frame_header = address,
            _ => {}
        }
    }
    if frame_header != 0 && listing.count < MODULES_MAX {
        TABLE[listing.count].set(start, end, Module { frame_header, ..module });
        listing.count += 1;
    }
    0
}

/// The unwind tables that cover `pc`, or none: code that was generated at run time, a garbage address, a stripped module.
pub(super) fn sections_of(pc: usize) -> Option<Sections> {
    let module = if tells_objects() {
        module_from_loader(pc)?
    } else {
        // The table may be being filled this instant.
        permanent(pc).or_else(|| module_from_table(pc))?
    };
    module.sections()
}

/// The module that holds `pc`, by the loader. Lock-free and async-signal-safe.
fn found_object(pc: usize) -> Option<FoundObject> {
    let address = FIND_OBJECT.load(Ordering::Relaxed);
    if address == 0 {
        return None;
    }
    let mut found = MaybeUninit::<FoundObject>::zeroed();
    // SAFETY: the only non-zero value ever stored is what `dlsym` gave for `_dl_find_object`, which has this signature. The address is
    // only compared, never read; the result has glibc's layout.
    let result = unsafe {
        let find_object = core::mem::transmute::<*const c_void, FindObject>(with_exposed_provenance(address));
        find_object(core::ptr::without_provenance_mut(pc), found.as_mut_ptr())
    };
    // SAFETY: all-zero bytes are a valid `FoundObject`, and the loader filled it in.
    let found = unsafe { found.assume_init() };
    (result == 0 && found.eh_frame != 0 && !found.link_map.is_null()).then_some(found)
}

/// A module as the loader has it, to tell it from another that is loaded at the same place later.
pub(super) struct Object {
    pub(super) start: usize,
    pub(super) end: usize,
    link_map: usize,
    eh_frame: usize,
}

/// The module that holds `pc`, if the loader says.
pub(super) fn object_at(pc: usize) -> Option<Object> {
    let found = found_object(pc)?;
    Some(Object {
        start: found.map_start,
        end: found.map_end,
        link_map: found.link_map.expose_provenance(),
        eh_frame: found.eh_frame,
    })
}

impl Object {
    /// A hash of what tells it from others. Only for a module that is not unloaded meanwhile.
    pub(super) fn identity(&self) -> usize {
        /// What is looked at: program headers, which say how long all segments are, and behind them, with every linker, the build id.
        const HEAD: usize = 1024;
        let words = (self.end - self.start).min(HEAD) / 8;
        let mix = |hash: usize, word: usize| (hash ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29);
        (0..words).fold(mix(self.link_map, self.eh_frame), |hash, index| {
            // SAFETY: the loader mapped the module's first page, readable, from the file; the caller keeps it loaded.
            mix(hash, unsafe { with_exposed_provenance::<usize>(self.start + 8 * index).read_unaligned() })
        })
    }
}

fn module_from_loader(pc: usize) -> Option<Module> {
    let found = found_object(pc)?;
    // SAFETY: the loader says the module is mapped from `map_start`, whose first page holds its ELF header, or where the kernel mapped a
    // program in pieces, code. `pc` is on a stack of this process, so the module cannot be unloaded meanwhile; were it a garbage
    // address into a module that is being unloaded this instant, every unwinder built on this call would share the fate.
    let (bias, header) =
        unsafe { (*found.link_map, with_exposed_provenance::<libc::Elf64_Ehdr>(found.map_start).read_unaligned()) };
    if header.e_ident[..4] != *b"\x7fELF" || usize::from(header.e_phentsize) != size_of::<libc::Elf64_Phdr>() {
        // What the kernel mapped was there from the start.
        return permanent(pc);
    }
    let program_headers = found.map_start.checked_add(header.e_phoff as usize)?;
    let program_header_count = usize::from(header.e_phnum);
    let headers_end = program_headers.checked_add(program_header_count * size_of::<libc::Elf64_Phdr>())?;
    (headers_end <= found.map_end).then_some(Module {
        bias,
        program_headers,
        program_header_count,
        frame_header: found.eh_frame,
    })
}

fn module_from_table(pc: usize) -> Option<Module> {
    // Acquire: entries are read after the version that covers them.
    let version = VERSION.load(Ordering::Acquire);
    if version % 2 == 1 {
        return None;
    }
    let count = COUNT.load(Ordering::Relaxed).min(MODULES_MAX);
    let found = TABLE[..count].iter().find_map(|entry| entry.covering(pc));
    // Acquire fence: the second look at the version happens after the entries were read.
    core::sync::atomic::fence(Ordering::Acquire);
    found.filter(|_| VERSION.load(Ordering::Relaxed) == version)
}

impl Module {
    /// # Safety
    /// The module is loaded and has more than `index` program headers.
    unsafe fn program_header(&self, index: usize) -> libc::Elf64_Phdr {
        let address = self.program_headers + index * size_of::<libc::Elf64_Phdr>();
        // SAFETY: by this function's contract the header is mapped.
        unsafe { with_exposed_provenance::<libc::Elf64_Phdr>(address).read_unaligned() }
    }

    /// The readable segment bytes from `address` on.
    fn segment_from(&self, address: usize) -> Option<&'static [u8]> {
        (0..self.program_header_count).find_map(|index| {
            // SAFETY: a `Module` comes from the loader, which vouches for its headers; see `module_from_loader` on unloading.
            let header = unsafe { self.program_header(index) };
            let start = self.bias.wrapping_add(header.p_vaddr as usize);
            let end = start.checked_add(header.p_filesz as usize)?;
            let readable = header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_R != 0;
            (readable && (start..end).contains(&address)).then(|| {
                // SAFETY: file-backed bytes of a readable segment which the loader mapped; nobody writes to unwind tables.
                unsafe { core::slice::from_raw_parts(with_exposed_provenance(address), end - address) }
            })
        })
    }

    fn sections(&self) -> Option<Sections> {
        let header = self.segment_from(self.frame_header)?;
        let frames_address = frames_address(self.frame_header, header)?;
        let frames = self.segment_from(frames_address)?;
        Some(Sections { header_address: self.frame_header, header, frames_address, frames })
    }
}

/// Where `.eh_frame` starts, by the `.eh_frame_hdr` at `address`. Only the encoding that every linker writes: 4 bytes, pc-relative.
fn frames_address(address: usize, header: &[u8]) -> Option<usize> {
    const PC_RELATIVE_SIGNED_4: u8 = 0x1b;
    let (head, offset) = (header.get(..4)?, header.get(4..8)?);
    if head[0] != 1 || head[1] != PC_RELATIVE_SIGNED_4 {
        return None;
    }
    let offset = i32::from_le_bytes(offset.try_into().ok()?);
    Some(address.wrapping_add(4).wrapping_add_signed(offset as isize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_and_the_table_agree() {
        prepare();
        let pc = the_loader_and_the_table_agree as fn() as *const u8 as usize;
        let libc_pc = libc::qsort as *const () as usize;
        for pc in [pc, libc_pc] {
            let from_table = module_from_table(pc).expect("this module is loaded").sections().expect("has tables");
            let direct = sections_of(pc).expect("this module is loaded");
            assert_eq!(from_table.header_address, direct.header_address);
            assert_eq!(from_table.frames_address, direct.frames_address);
            assert_eq!(from_table.frames.len(), direct.frames.len());
        }
    }

    #[test]
    fn the_kernels_module_is_found() {
        prepare();
        // SAFETY: reads the auxiliary vector, which the kernel filled.
        let start = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
        // Some sandboxes have none.
        assert!(start == 0 || sections_of(start + 1).is_some());
    }

    #[test]
    fn nothing_covers_garbage() {
        prepare();
        for pc in [0, 1, 0x1000, usize::MAX, usize::MAX / 2, &raw const TABLE as usize ^ (1 << 46)] {
            assert!(sections_of(pc).is_none());
        }
    }

    #[test]
    fn refresh_reports_a_change_only_once() {
        prepare();
        while refresh() {}
        assert!(!refresh());
    }
}
