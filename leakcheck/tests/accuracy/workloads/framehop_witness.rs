//! The third opinion: framehop's walk of the same stack, and the count of all differences by kind.
//!
//! Asked from signal handlers too, so nothing here allocates after [`FramehopWitness::new`].

use crate::unwind_support::Witness;
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, Module, MustNotAllocateDuringUnwind, Unwinder};
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::Mutex;

/// Frames taken at most; the stacks of the workloads that are deeper are cut at the walk's depth anyway.
const FRAMES_MAX: usize = 1100;
/// Different (kind, function) pairs one witness can count; more are counted as the last one.
const PLACES_MAX: usize = 256;

/// Who disagrees, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The `backtrace` crate says otherwise.
    Backtrace,
    /// framehop gives fewer frames than the other two.
    FramehopStops,
    /// framehop gives another caller than the other two.
    FramehopStrays,
    /// framehop goes on where the other two end.
    FramehopGoesOn,
}

/// Differences by kind, by the function whose caller is in question, and by the one below it.
pub(crate) static DIFFERENCES: Mutex<BTreeMap<(Kind, String, String), u64>> = Mutex::new(BTreeMap::new());

type Parting = [usize; 2];

#[derive(Clone, Copy)]
struct Place {
    kind: Kind,
    /// The innermost frame whose caller is in question, and the one before it, which may have misled it.
    parting: Parting,
    count: u64,
}

pub(crate) struct FramehopWitness {
    unwinder: UnwinderX86_64<&'static [u8], MustNotAllocateDuringUnwind>,
    cache: CacheX86_64<MustNotAllocateDuringUnwind>,
    frames: Vec<usize>,
    walked: Vec<usize>,
    places: Vec<Place>,
    /// Stacks to go until one is falsified, to prove that a difference is seen.
    plant_in: Option<u64>,
}

impl FramehopWitness {
    pub(crate) fn new(is_planted: bool) -> Self {
        let mut unwinder = UnwinderX86_64::new();
        for module in modules() {
            unwinder.add_module(module);
        }
        Self {
            unwinder,
            cache: CacheX86_64::new_in(),
            frames: Vec::with_capacity(FRAMES_MAX),
            walked: Vec::with_capacity(FRAMES_MAX),
            places: Vec::with_capacity(PLACES_MAX),
            plant_in: is_planted.then_some(100),
        }
    }

    fn note(&mut self, kind: Kind, parting: Parting) {
        let is_full = self.places.len() == PLACES_MAX;
        match self.places.iter_mut().find(|place| place.kind == kind && place.parting == parting) {
            Some(place) => place.count += 1,
            None if is_full => self.places[PLACES_MAX - 1].count += 1,
            None => self.places.push(Place { kind, parting, count: 1 }),
        }
    }
}

/// Publishes what was counted.
impl Drop for FramehopWitness {
    fn drop(&mut self) {
        let mut all = DIFFERENCES.lock().expect("nothing panics while it holds this");
        for place in &self.places {
            let [frame, callee] = place.parting;
            *all.entry((place.kind, function_at(frame), function_at(callee))).or_default() += place.count;
        }
    }
}

impl Witness for FramehopWitness {
    #[inline(never)]
    fn take(&mut self) {
        let (pc, sp, bp): (u64, u64, u64);
        // SAFETY: reads three registers and touches neither memory, stack nor flags.
        unsafe {
            core::arch::asm!(
                "lea {pc}, [rip]",
                "mov {sp}, rsp",
                "mov {bp}, rbp",
                pc = out(reg) pc,
                sp = out(reg) sp,
                bp = out(reg) bp,
                options(nomem, nostack, preserves_flags),
            );
        }
        let mut read = |address: u64| read_word(address as usize).ok_or(());
        let registers = UnwindRegsX86_64::new(pc, sp, bp);
        let mut walk = self.unwinder.iter_frames(pc, registers, &mut self.cache, &mut read);
        self.frames.clear();
        // This function and `check`, which called it.
        let mut skipped = 0;
        while self.frames.len() < FRAMES_MAX
            && let Ok(Some(frame)) = walk.next()
        {
            if skipped < 2 {
                skipped += 1;
            } else {
                self.frames.push(frame.address() as usize);
            }
        }
    }

    fn compare(&mut self, walked: &mut dyn Iterator<Item = usize>, backtrace: &[usize], depth_max: usize) {
        self.walked.clear();
        self.walked.extend(walked.take(FRAMES_MAX));
        if let Some(left) = &mut self.plant_in {
            *left -= 1;
            if *left == 0 {
                self.plant_in = None;
                let middle = self.walked.len() / 2;
                self.walked[middle] ^= 16;
            }
        }
        let Self { frames, walked, .. } = self;
        if let Some(parting) = parting(walked, backtrace) {
            self.note(Kind::Backtrace, parting);
            return;
        }
        frames.truncate(depth_max);
        let Some(parting) = parting(walked, frames) else { return };
        let equal = walked.iter().zip(&*frames).take_while(|(a, b)| a == b).count();
        let kind = if equal == frames.len() {
            Kind::FramehopStops
        } else if equal == walked.len() {
            Kind::FramehopGoesOn
        } else {
            Kind::FramehopStrays
        };
        self.note(kind, parting);
    }
}

/// The last address that two leaf-first stacks have in common, and the one before it; 0 where there is none.
fn parting(one: &[usize], other: &[usize]) -> Option<Parting> {
    let equal = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let at = |distance: usize| equal.checked_sub(distance).map_or(0, |place| one[place]);
    (equal < one.len() || equal < other.len()).then(|| [at(1), at(2)])
}

/// A word of this process's memory, or none where none can be read.
fn read_word(address: usize) -> Option<u64> {
    let mut word = 0_u64;
    let to = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: 8 };
    let from = libc::iovec { iov_base: std::ptr::with_exposed_provenance_mut(address), iov_len: 8 };
    // SAFETY: the kernel writes at most 8 bytes to `word`, and checks the other address.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &raw const to, 1, &raw const from, 1, 0) };
    (read == 8).then_some(word)
}

fn modules() -> Vec<Module<&'static [u8]>> {
    unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _size: usize, list: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid `info`, and `list` is the vector below.
        let (info, list) = unsafe { (&*info, &mut *list.cast::<Vec<Module<&'static [u8]>>>()) };
        list.extend(module(info));
        0
    }
    let mut list: Vec<Module<&'static [u8]>> = Vec::new();
    // SAFETY: the callback has the right type and the list outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut list).cast()) };
    list
}

fn module(info: &libc::dl_phdr_info) -> Option<Module<&'static [u8]>> {
    // SAFETY: the loader vouches for this many headers at this place.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let bias = info.dlpi_addr;
    let loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let start = loaded.clone().map(|header| bias.wrapping_add(header.p_vaddr)).min()?;
    let end = loaded.clone().map(|header| bias.wrapping_add(header.p_vaddr + header.p_memsz)).max()?;
    // SAFETY: asked only for file-backed bytes of readable segments, which stay: no workload unloads a library.
    let bytes = |from: u64, to: u64| unsafe {
        std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(from as usize), (to - from) as usize)
    };
    let upto = |address: u64| {
        let end_of = |header: &libc::Elf64_Phdr| bias.wrapping_add(header.p_vaddr + header.p_filesz);
        loaded.clone().find(|h| bias.wrapping_add(h.p_vaddr) <= address && address < end_of(h)).map(end_of)
    };
    let header = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?;
    let header_address = bias.wrapping_add(header.p_vaddr);
    let header_bytes = bytes(header_address, upto(header_address)?);
    // The encoding that linkers write: 4 bytes relative to their own place.
    let offset = i32::from_le_bytes(header_bytes.get(4..8)?.try_into().ok()?);
    let frames_address = header_address.wrapping_add(4).wrapping_add_signed(offset.into());
    let frames_end = upto(frames_address)?;
    let sections = ExplicitModuleSectionInfo {
        base_svma: start.wrapping_sub(bias),
        eh_frame_hdr_svma: Some(header.p_vaddr..header.p_vaddr + header.p_memsz),
        eh_frame_hdr: Some(header_bytes),
        eh_frame_svma: Some(frames_address.wrapping_sub(bias)..frames_end.wrapping_sub(bias)),
        eh_frame: Some(bytes(frames_address, frames_end)),
        ..ExplicitModuleSectionInfo::default()
    };
    Some(Module::new(String::new(), start..end, start, sections))
}

/// The name of the function that holds a return address.
fn function_at(address: usize) -> String {
    // mov rax, 15 (rt_sigreturn); syscall
    const TRAMPOLINE: u64 = u64::from_le_bytes([0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f]);
    if address == 0 {
        return "nothing".to_owned();
    }
    if read_word(address) == Some(TRAMPOLINE) {
        return "the signal trampoline".to_owned();
    }
    let mut name = None;
    backtrace::resolve(std::ptr::with_exposed_provenance_mut(address.wrapping_sub(1)), |symbol| {
        name = name.take().or(symbol.name().map(|name| format!("{name:#}")));
    });
    name.unwrap_or_else(|| module_of(address))
}

fn module_of(address: usize) -> String {
    // SAFETY: an all-zero `Dl_info` is valid, and `dladdr` only compares the address.
    let info = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(std::ptr::with_exposed_provenance(address), &raw mut info) == 0 || info.dli_fname.is_null() {
            return "code without a name".to_owned();
        }
        info
    };
    // SAFETY: the loader gave a string that lives as long as the module, and modules stay.
    let path = unsafe { std::ffi::CStr::from_ptr(info.dli_fname) }.to_string_lossy();
    let file = path.rsplit('/').next().unwrap_or_default();
    if file.is_empty() { "the kernel's module".to_owned() } else { format!("a nameless function of {file}") }
}
