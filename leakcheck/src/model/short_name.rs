//! Functions that debug information names by their last part, and what the symbol table makes of them.

/// Whether a name is the last part of one, with generic arguments or without.
#[must_use]
pub fn is_short_name(name: &str) -> bool {
    !name.starts_with('<') && !name.split('<').next().is_some_and(|path| path.contains("::"))
}

/// Whether debug information may call the function `short` that the symbol table calls `full`. Several functions with
/// the same code may share an address; then only one of the names fits.
#[must_use]
pub fn is_short_for(short: &str, full: &str) -> bool {
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
        assert_eq!((short.map(is_short_name), long.map(is_short_name)), ([true; 4], [false; 3]));
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
