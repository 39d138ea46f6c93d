//! Names for code addresses that a snapshot has as module and offset: looked up in the files the code was loaded from, as
//! long as they are the very same files.
//!
//! So a watched program, or one that records without names, need not spend its own memory on it.

use addr2line::Loader;
use leakcheck::model::{Frame, Function, Module, Snapshot, is_short_for, is_short_name};
use object::Object;
use object::read::ReadCache;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Looks names up, each address once.
#[derive(Default)]
pub(crate) struct Symbols {
    /// The process whose files are read; else those of this machine are.
    pid: Option<u32>,
    known: HashMap<Module, HashMap<u64, Vec<Function>>>,
}

impl Symbols {
    /// Of the files that a running process has loaded, wherever its root is.
    pub(crate) fn of_process(pid: u32) -> Self {
        Self { pid: Some(pid), ..Self::default() }
    }

    /// Fills in the names that a snapshot lacks, as far as they can be found.
    pub(crate) fn fill_in(&mut self, snapshot: &mut Snapshot) {
        let Snapshot { frames, modules, .. } = snapshot;
        for (place, module) in modules.iter().enumerate() {
            // `[vdso]` and the like are no files.
            if !module.path.starts_with('/') {
                continue;
            }
            let in_it = |frame: &&mut Frame| frame.module.is_some_and(|id| id.index() == place);
            let known = self.known.entry(module.clone()).or_default();
            // Open while one snapshot is named: what is read of it takes memory.
            let mut file: Option<Option<Loader>> = None;
            for frame in frames.iter_mut().filter(|frame| frame.functions.is_empty()).filter(in_it) {
                let functions = known.entry(frame.offset).or_insert_with(|| {
                    let file = file.get_or_insert_with(|| open(module, self.pid));
                    file.as_ref().map_or_else(Vec::new, |file| functions_in(file, frame.offset))
                });
                frame.functions.clone_from(functions);
            }
        }
    }
}

/// The file of a module, if it is there and is the one that was loaded.
fn open(module: &Module, pid: Option<u32>) -> Option<Loader> {
    let places = match pid {
        // The executable first: it can be read even when it was replaced since.
        Some(pid) => vec![format!("/proc/{pid}/exe"), format!("/proc/{pid}/root{}", module.path)],
        None => vec![module.path.clone()],
    };
    let mut places = places.into_iter().map(PathBuf::from);
    let path = places.find(|path| build_id_of(path).is_some_and(|id| Some(id) == module.build_id))?;
    Loader::new(path).ok()
}

/// The GNU build id of a file, as hex.
fn build_id_of(path: &Path) -> Option<String> {
    // Special files could block for ever.
    if !path.is_file() {
        return None;
    }
    let data = ReadCache::new(BufReader::new(File::open(path).ok()?));
    let file = object::File::parse(&data).ok()?;
    let id = file.build_id().ok()??;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The functions at a return address, innermost inlined one first, named as the recorder names them.
fn functions_in(file: &Loader, return_address: u64) -> Vec<Function> {
    // The call lies before the address it returns to, which may be the first one of the next function.
    let Some(address) = return_address.checked_sub(1) else { return Vec::new() };
    let symbol = file.find_symbol(address).map(demangled);
    let mut functions = Vec::new();
    if let Ok(mut frames) = file.find_frames(address) {
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|name| name.raw_name().ok()).map(|name| demangled(&name));
            let Some(name) = name.or_else(|| symbol.clone()) else { continue };
            let location = frame.location;
            let path = location.as_ref().and_then(|location| location.file).map(str::to_owned);
            functions.push(Function { name, file: path, line: location.and_then(|location| location.line) });
        }
    }
    match (functions.last_mut(), symbol) {
        // The last one is the function that was called, not inlined: debug information may know it by its last part only.
        (Some(called), Some(full)) if is_short_name(&called.name) && is_short_for(&called.name, &full) => {
            called.name = full
        }
        (None, Some(name)) => functions.push(Function { name, file: None, line: None }),
        _ => {}
    }
    functions
}

fn demangled(name: &str) -> String {
    // The alternate form leaves out the hash suffix.
    format!("{:#}", rustc_demangle::demangle(name))
}
