//! Full names for functions that debug information names by their last part.

use super::symbol_table::SymbolTable;
use super::{LoadedModule, loaded_modules};
use crate::model::is_short_for;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The loaded files with their symbol tables, each read when an address in it is first asked for.
#[derive(Default)]
struct Files {
    modules: Vec<(LoadedModule, Option<SymbolTable>)>,
}

/// Only the thread that writes snapshots takes this lock. Below it only the loader's lock is taken.
static FILES: Mutex<Option<Files>> = Mutex::new(None);

/// The full name of the function that `return_address` returns into, when it is the function called `short`.
pub(super) fn full_name(return_address: u64, short: &str) -> Option<String> {
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    // The call lies before the address it returns to, which may be the first one of the next function.
    let address = return_address.checked_sub(1)?;
    let files = files.get_or_insert_with(Files::default);
    let (module, table) = files.of_address(address)?;
    let offset = address - module.load_address;
    let table = table.get_or_insert_with(|| SymbolTable::read(Path::new(&module.module.path)));
    // The alternate form leaves out the hash suffix.
    let mut names = table.names_at(offset).map(|mangled| format!("{:#}", rustc_demangle::demangle(mangled)));
    names.find(|name| is_short_for(short, name))
}

/// Lets go of all tables.
pub(super) fn forget() {
    *FILES.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

impl Files {
    fn of_address(&mut self, address: u64) -> Option<&mut (LoadedModule, Option<SymbolTable>)> {
        let place = |files: &Self| files.modules.iter().position(|(module, _)| module.contains(address));
        let found = place(self).or_else(|| {
            self.modules = loaded_modules().into_iter().map(|module| (module, None)).collect();
            place(self)
        })?;
        self.modules.get_mut(found)
    }
}
