//! From code addresses of this process to modules, functions and lines.
//!
//! Runs on a thread of the recorder, never in the hook. Names come from the `backtrace` crate, which reads debug
//! information and symbol tables of the files the process was loaded from.

mod modules;
mod names;
mod symbol_table;

pub(crate) use modules::{LoadedModule, loaded_modules};

use crate::model::{Function, is_short_name};

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
    // The last one is the function that was called, not inlined: debug information may know it by its last part only.
    if let Some(called) = functions.last_mut().filter(|called| is_short_name(&called.name))
        && let Some(full) = names::full_name(return_address, &called.name)
    {
        called.name = full;
    }
    functions
}

/// Gives back what looking up names needs to keep at hand.
pub(crate) fn forget_debug_information() {
    backtrace::clear_symbol_cache();
    names::forget();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn named_in_full() -> Vec<Vec<Function>> {
        let mut stacks = Vec::new();
        backtrace::trace(|frame| {
            stacks.push(functions_at(frame.ip() as u64));
            stacks.len() < 6
        });
        stacks
    }

    #[test]
    fn functions_are_named_with_their_modules() {
        let stacks = named_in_full();
        let names: Vec<&str> = stacks.iter().flatten().map(|function| function.name.as_str()).collect();
        assert!(names.contains(&"leakcheck::symbolize::tests::named_in_full"), "{names:#?}");
        forget_debug_information();
    }
}
