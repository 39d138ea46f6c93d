//! Full names for functions that debug information names by their last part.

use super::symbol_table::SymbolTable;
use super::{LoadedModule, loaded_modules};
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

/// Whether a name is the last part of one, with generic arguments or without.
pub(super) fn is_short(name: &str) -> bool {
    !name.starts_with('<') && !name.split('<').next().is_some_and(|path| path.contains("::"))
}

/// Whether debug information may call the function `short` that the symbol table calls `full`. Several functions with
/// the same code may share an address; then only one of the names fits.
fn is_short_for(short: &str, full: &str) -> bool {
    // Closures and async blocks have other last names in symbols.
    if short.starts_with('{') {
        return full.ends_with('}');
    }
    let short = short.split('<').next().unwrap_or(short);
    let parts = full.match_indices(short);
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut whole = parts.filter(|(at, _)| {
        !is_word(full[..*at].chars().next_back()) && !is_word(full[at + short.len()..].chars().next())
    });
    !short.is_empty() && whole.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generic_arguments_do_not_make_a_name_long() {
        let short = ["main", "insert", "insert<a::B, c::D>", "{closure#0}"];
        let long = ["a::insert", "a::B<c::D>::insert", "<a::B as c::D>::insert"];
        assert_eq!((short.map(is_short), long.map(is_short)), ([true; 4], [false; 3]));
    }

    #[test]
    fn a_short_name_fits_its_own_function_only() {
        for (short, full, fits) in [
            ("insert", "shop::Basket::insert", true),
            ("insert", "<shop::Basket>::insert", true),
            ("insert<u8, u16>", "shop::Basket<T>::insert", true),
            ("insert", "shop::Basket::insert_all", false),
            ("insert", "shop::Basket::remove", false),
            ("{closure#0}", "shop::Basket::insert::{{closure}}", true),
            ("{closure#0}", "shop::Basket::insert", false),
            ("", "shop", false),
        ] {
            assert_eq!(is_short_for(short, full), fits, "{short} for {full}");
        }
    }
}
