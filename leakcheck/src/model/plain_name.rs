//! A function's name as reports show it. Does not shorten it to a width; that is for whoever knows the width.

/// A name without generic arguments, trait casts and trailing closures: `<a::B<T> as c::D>::e::{{closure}}` is `a::B::e`.
#[must_use]
pub fn plain_name(name: &str) -> String {
    let name = without_cast(&without_generics(name)).replace("{{", "{").replace("}}", "}");
    let mut rest = name.as_str();
    while let Some((before, last)) = rest.rsplit_once("::") {
        if !(last.starts_with("{closure") && last.ends_with('}')) {
            break;
        }
        rest = before;
    }
    if rest.is_empty() { "?".to_owned() } else { rest.to_owned() }
}

/// A name without generic arguments.
pub(super) fn without_generics(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut depth = 0_usize;
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '<' if depth > 0 => depth += 1,
            '<' if out.ends_with("::") => {
                out.truncate(out.len() - 2);
                depth = 1;
            }
            '<' if out.ends_with(|c: char| c.is_alphanumeric() || c == '_') => depth = 1,
            '-' if chars.peek() == Some(&'>') => {
                chars.next();
                if depth == 0 {
                    out.push_str("->");
                }
            }
            '>' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            _ => out.push(c),
        }
    }
    out
}

/// `<a::B as c::D>::e` is `a::B::e`, `<a::B>::e` too.
fn without_cast(name: &str) -> String {
    let Some(inner) = name.strip_prefix('<') else { return name.to_owned() };
    let Some((of, method)) = inner.rsplit_once(">::") else { return name.to_owned() };
    let of = of.split_once(" as ").map_or(of, |(of, _)| of);
    format!("{of}::{method}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for (name, plain) in [
            ("shop::cache::remember", "shop::cache::remember"),
            ("shop::handle::{{closure}}::{{closure}}", "shop::handle"),
            ("shop::Cache<K, fn(u8) -> V>::insert::{closure#3}", "shop::Cache::insert"),
            ("<shop::Cache<K> as core::ops::Drop>::drop", "shop::Cache::drop"),
            ("<shop::Cache<K>>::drop", "shop::Cache::drop"),
            ("{{closure}}", "{closure}"),
            ("", "?"),
        ] {
            assert_eq!(plain_name(name), plain);
        }
    }
}
