//! Which files the code of this process was loaded from.

use crate::model::Module;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A loaded file with the addresses of its segments.
#[derive(Debug, Clone)]
pub(crate) struct LoadedModule {
    pub(crate) module: Module,
    /// What must be subtracted from an address to get its offset in the file's own address space.
    pub(crate) load_address: u64,
    segments: Vec<(u64, u64)>,
}

impl LoadedModule {
    pub(crate) fn contains(&self, address: u64) -> bool {
        self.segments.iter().any(|(start, end)| (*start..*end).contains(&address))
    }
}

/// The files loaded now, the executable first.
pub(crate) fn loaded_modules() -> Vec<LoadedModule> {
    let mut modules: Vec<LoadedModule> = Vec::new();
    // SAFETY: the callback matches the declared type, and `modules` outlives the call it is passed to.
    unsafe { libc::dl_iterate_phdr(Some(add_module), (&raw mut modules).cast()) };
    modules
}

unsafe extern "C" fn add_module(info: *mut libc::dl_phdr_info, _: usize, modules: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the loader passes a valid description, and `modules` is the vector given to `dl_iterate_phdr`.
    let (info, modules) = unsafe { (&*info, &mut *modules.cast::<Vec<LoadedModule>>()) };
    // SAFETY: the loader's name is a C string or null; the header table has `dlpi_phnum` entries.
    let (name, headers) = unsafe {
        let name = if info.dlpi_name.is_null() { c"" } else { CStr::from_ptr(info.dlpi_name) };
        let headers: &[libc::Elf64_Phdr] = if info.dlpi_phdr.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum))
        };
        (name, headers)
    };
    let path = match name.to_bytes() {
        // The executable comes first and has no name.
        b"" if modules.is_empty() => {
            std::env::current_exe().map_or_else(|_| "[executable]".to_owned(), |exe| exe.display().to_string())
        }
        b"" => "[vdso]".to_owned(),
        bytes => Path::new(OsStr::from_bytes(bytes)).display().to_string(),
    };
    let base = info.dlpi_addr;
    let segments = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD)
        .map(|header| (base + header.p_vaddr, base + header.p_vaddr + header.p_memsz))
        .collect();
    let build_id = headers.iter().filter(|header| header.p_type == libc::PT_NOTE).find_map(|header| {
        // SAFETY: a note segment of a loaded module is mapped and readable for its whole size.
        let notes =
            unsafe { std::slice::from_raw_parts((base + header.p_vaddr) as *const u8, header.p_memsz as usize) };
        build_id_in(notes)
    });
    modules.push(LoadedModule { module: Module { path, build_id }, load_address: base, segments });
    0
}

/// The GNU build id in an ELF note segment, as hex.
fn build_id_in(mut notes: &[u8]) -> Option<String> {
    const NT_GNU_BUILD_ID: u32 = 3;
    loop {
        let word = |place: usize| {
            let bytes = notes.get(place * 4..place * 4 + 4)?;
            Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let (name_len, value_len, kind) = (word(0)? as usize, word(1)? as usize, word(2)?);
        let value_at = 12 + name_len.next_multiple_of(4);
        let name = notes.get(12..12 + name_len)?;
        let value = notes.get(value_at..value_at.checked_add(value_len)?)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(value.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        notes = notes.get(value_at + value_len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_in_the_first_module() {
        let modules = loaded_modules();
        let here = this_test_is_in_the_first_module as *const () as u64;
        assert!(modules[0].contains(here));
        assert!(modules.iter().skip(1).all(|module| !module.contains(here)));
    }

    #[test]
    fn build_ids_are_found_behind_other_notes_and_garbage_is_none() {
        let mut notes = Vec::new();
        for word in [4_u32, 4, 1] {
            notes.extend(word.to_ne_bytes());
        }
        notes.extend(b"GNU\0abcd");
        for word in [4_u32, 3, 3] {
            notes.extend(word.to_ne_bytes());
        }
        notes.extend(b"GNU\0\x01\x02\xff\0");
        assert_eq!(build_id_in(&notes).as_deref(), Some("0102ff"));
        for cut in 0..notes.len() - 4 {
            assert_eq!(build_id_in(&notes[..cut]), None);
        }
        assert_eq!(build_id_in(&[0xff; 64]), None);
    }
}
