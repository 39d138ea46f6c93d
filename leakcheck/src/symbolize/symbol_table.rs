//! The symbol table of a loaded file: the full name of the function an address lies in.
//!
//! Debug information with line tables alone names a function that was not inlined by its last part (`insert`), and only
//! inlined ones in full. The symbol table has the rest. It knows nothing of inlined functions and lines.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The functions of one 64-bit ELF file by their start.
#[derive(Debug, Default)]
pub(super) struct SymbolTable {
    functions: Vec<Entry>,
    strings: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u64,
    size: u64,
    name_at: u32,
}

/// Where a section lies in the file, and which other one it refers to.
#[derive(Debug, Clone, Copy)]
struct Section {
    kind: u32,
    link: u32,
    offset: u64,
    size: u64,
}

const SECTION_HEADER_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
/// Larger than any table that was ever seen; what says it is larger is damaged.
const TABLE_BYTES_MAX: u64 = 2 << 30;

impl SymbolTable {
    /// Reads the table of the file at `path`; an empty one when the file has none, or is not what it should be.
    pub(super) fn read(path: &Path) -> Self {
        Self::try_read(path).ok().flatten().unwrap_or_default()
    }

    fn try_read(path: &Path) -> io::Result<Option<Self>> {
        const SHT_SYMTAB: u32 = 2;
        let file = File::open(path)?;
        let sections = read_sections(&file)?;
        let Some(symbols) = sections.iter().find(|section| section.kind == SHT_SYMTAB) else { return Ok(None) };
        let Some(strings) = sections.get(symbols.link as usize) else { return Ok(None) };
        let table = read_range(&file, symbols.offset, symbols.size)?;
        let mut functions: Vec<Entry> = table.chunks_exact(SYMBOL_BYTES).filter_map(function_entry).collect();
        functions.sort_unstable_by_key(|entry| entry.start);
        Ok(Some(Self { functions, strings: read_range(&file, strings.offset, strings.size)? }))
    }

    /// The mangled names of the functions that cover `address`, an address in the file's own space.
    pub(super) fn names_at(&self, address: u64) -> impl Iterator<Item = &str> {
        let after = self.functions.partition_point(|entry| entry.start <= address);
        let start = after.checked_sub(1).map(|last| self.functions[last].start);
        let same_start = self.functions[..after].iter().rev().take_while(move |entry| Some(entry.start) == start);
        let covering = same_start.filter(move |entry| address - entry.start < entry.size.max(1));
        covering.filter_map(|entry| self.name(entry))
    }

    fn name(&self, entry: &Entry) -> Option<&str> {
        let from = self.strings.get(entry.name_at as usize..)?;
        let end = from.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&from[..end]).ok()
    }
}

fn read_sections(file: &File) -> io::Result<Vec<Section>> {
    let header = read_range(file, 0, 64)?;
    // A 64-bit file of this machine's byte order.
    let little = u8::from(cfg!(target_endian = "little"));
    if header[..4] != *b"\x7fELF" || header[4] != 2 || (header[5] == 1) != (little == 1) {
        return Ok(Vec::new());
    }
    let (offset, count) = (word64(&header, 40), word16(&header, 60));
    let headers = read_range(file, offset, u64::from(count) * SECTION_HEADER_BYTES as u64)?;
    let section = |header: &[u8]| Section {
        kind: word32(header, 4),
        offset: word64(header, 24),
        size: word64(header, 32),
        link: word32(header, 40),
    };
    Ok(headers.chunks_exact(SECTION_HEADER_BYTES).map(section).collect())
}

/// A symbol that names a function with a place in this file.
fn function_entry(symbol: &[u8]) -> Option<Entry> {
    const STT_FUNC: u8 = 2;
    const STT_GNU_IFUNC: u8 = 10;
    let is_function = matches!(symbol[4] & 0xf, STT_FUNC | STT_GNU_IFUNC);
    let is_defined = word16(symbol, 6) != 0;
    (is_function && is_defined).then(|| Entry {
        start: word64(symbol, 8),
        size: word64(symbol, 16),
        name_at: word32(symbol, 0),
    })
}

fn read_range(file: &File, offset: u64, size: u64) -> io::Result<Vec<u8>> {
    if size > TABLE_BYTES_MAX || offset.checked_add(size).is_none_or(|end| file.metadata().is_ok_and(|m| end > m.len()))
    {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn word16(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn word64(bytes: &[u8], at: usize) -> u64 {
    let (low, high) = (word32(bytes, at), word32(bytes, at + 4));
    if cfg!(target_endian = "little") {
        u64::from(low) | u64::from(high) << 32
    } else {
        u64::from(high) | u64::from(low) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_and_cut_files_have_no_symbols() {
        let this = std::fs::read(std::env::current_exe().expect("a path")).expect("this program");
        let folder = std::env::temp_dir().join(format!("leakcheck-symbols-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        for (name, bytes) in [
            ("empty", &[][..]),
            ("garbage", &[b'x'; 1000][..]),
            ("magic", &b"\x7fELF\x02\x01\x01"[..]),
            ("header", &this[..64]),
            ("half", &this[..this.len() / 2]),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, bytes).expect("a file for the test");
            assert_eq!(SymbolTable::read(&path).functions.len(), 0, "{name}");
        }
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
        assert_eq!(SymbolTable::read(&folder).functions.len(), 0);
    }
}
