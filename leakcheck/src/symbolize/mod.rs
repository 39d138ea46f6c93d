//! From code addresses of this process to modules, functions and lines.
//!
//! Runs on a thread of the recorder, never in the hook. Names come from the `backtrace` crate, which reads debug
//! information and symbol tables of the files the process was loaded from.

mod modules;

pub(crate) use modules::{LoadedModule, loaded_modules};

use crate::model::Function;

/// The functions at a return address, innermost inlined one first; empty when nothing is known of it.
pub(crate) fn functions_at(return_address: u64) -> Vec<Function> {
    let mut functions = Vec::new();
    // The crate itself looks up the instruction before the return address.
    backtrace::resolve(return_address as *mut std::ffi::c_void, |symbol| {
        let Some(name) = symbol.name() else { return };
        functions.push(Function {
            // The alternate form leaves out the hash suffix.
            name: format!("{name:#}"),
            file: symbol.filename().map(|path| path.to_string_lossy().into_owned()),
            line: symbol.lineno(),
        });
    });
    functions
}

/// Gives back what looking up names needs to keep at hand.
pub(crate) fn forget_debug_information() {
    backtrace::clear_symbol_cache();
}
