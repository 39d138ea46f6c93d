//! Suppressions: leaks that somebody looked at and accepts. Patterns in the form LeakSanitizer has them. Does not read
//! files of them; findings that are accepted stay in sight and no longer count.

use super::judgement::{Finding, Verdict};
use super::resources::ResourceFinding;
use crate::model::plain_name;
use std::borrow::Cow;
use std::fmt;

/// A pattern of leaks that are accepted.
///
/// It is a part of a name, with `*` for anything, `^` at its beginning for the beginning of the name and `$` at its end for
/// its end. It is looked for in the name of each function of a finding's stack, as it stands and as reports show it, in
/// those folded away at the leaf, in source files, in modules, and in the scope.
///
/// ```
/// use leakcheck::analysis::Suppression;
///
/// let suppression = Suppression::new("QuoteCache::*answer$").expect("it names something");
/// assert!(suppression.matches("service::quotes::QuoteCache::answer"));
/// assert!(!suppression.matches("service::quotes::QuoteCache::answers"));
/// assert_eq!(suppression.to_string(), "leak:QuoteCache::*answer$");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    pattern: String,
    from_start: bool,
    to_end: bool,
    /// What stands between the asterisks.
    parts: Vec<String>,
}

impl Suppression {
    /// The suppression of a pattern, without the `leak:` before it; `None` when it names nothing and so would accept
    /// every leak.
    #[must_use]
    pub fn new(pattern: &str) -> Option<Self> {
        let inner = pattern.strip_prefix('^');
        let from_start = inner.is_some();
        let inner = inner.unwrap_or(pattern);
        let to_end = inner.ends_with('$');
        let inner = inner.strip_suffix('$').unwrap_or(inner);
        let parts: Vec<String> = inner.split('*').map(str::to_owned).collect();
        let names_something = parts.iter().any(|part| !part.is_empty());
        names_something.then(|| Self { pattern: pattern.to_owned(), from_start, to_end, parts })
    }

    /// Whether the pattern fits one name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut rest = name;
        let last = self.parts.len() - 1;
        for (place, part) in self.parts.iter().enumerate() {
            if place == last && self.to_end {
                // Anything may lie between, except where the whole is one anchored part.
                let whole = place == 0 && self.from_start;
                return if whole { rest == part } else { rest.ends_with(part.as_str()) };
            }
            let after = if place == 0 && self.from_start {
                rest.strip_prefix(part.as_str())
            } else {
                rest.find(part.as_str()).map(|at| &rest[at + part.len()..])
            };
            let Some(after) = after else { return false };
            rest = after;
        }
        true
    }

    fn accepts(&self, names: &[Cow<'_, str>]) -> bool {
        names.iter().any(|name| self.matches(name))
    }
}

/// Everything that a pattern may fit: names of functions as they stand and as reports show them, files, modules, the scope.
fn names_of(finding: &Finding) -> Vec<Cow<'_, str>> {
    let functions = || finding.stack.frames.iter().map(|frame| &frame.function);
    let names = || functions().map(|function| &function.name).chain(&finding.stack.plumbing);
    let files = functions().filter_map(|function| function.file.as_ref());
    let others = files.chain(&finding.modules).chain(&finding.scope);
    let as_they_stand = names().chain(others).map(|name| Cow::Borrowed(name.as_str()));
    as_they_stand.chain(names().map(|name| Cow::Owned(plain_name(name)))).collect()
}

/// As it stands in a file: `leak:pattern`.
impl fmt::Display for Suppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leak:{}", self.pattern)
    }
}

/// Marks the findings that a suppression accepts, the first one where several do. A bounded site needs none.
pub(super) fn accept(suppressions: &[Suppression], findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.verdict != Verdict::Bounded) {
        let names = if suppressions.is_empty() { Vec::new() } else { names_of(finding) };
        finding.accepted = suppressions.iter().find(|one| one.accepts(&names)).map(Suppression::to_string);
    }
}

/// The same for the kernel's figures, by their whole names: `leak:threads`. A part of a name is meant for a site.
pub(super) fn accept_resources(suppressions: &[Suppression], resources: &mut [ResourceFinding]) {
    for one in resources.iter_mut().filter(|one| one.verdict != Verdict::Bounded) {
        let pattern = format!("leak:{}", one.resource.in_words());
        one.accepted = suppressions.iter().any(|known| known.to_string() == pattern).then_some(pattern);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: bool) {
        let suppression = Suppression::new(pattern).unwrap_or_else(|| panic!("{pattern} names nothing"));
        assert_eq!(suppression.matches(name), expected, "{pattern} in {name}");
    }

    #[test]
    fn patterns_are_parts_with_wildcards_and_anchors() {
        for (pattern, yes, no) in [
            ("cache", "shop::cache::remember", "shop::session"),
            ("shop*remember", "shop::cache::remember_all", "remember::shop"),
            ("^shop", "shop::cache", "my::shop"),
            ("remember$", "shop::remember", "shop::remembered"),
            ("^shop::cache$", "shop::cache", "shop::cache::cache"),
            ("^shop*cache$", "shop::cache::cache", "shop::cached"),
            ("a$", "aab_a", "aab"),
            ("*cache*", "shop::cache", "shop"),
            ("cache*", "shop::cache", "shop"),
            ("a*b*c", "xaxbxcx", "xaxcxbx"),
            ("ab*ba", "abba", "aba"),
            ("^ab*ba$", "abba", "aba"),
            ("$x", "a$xb", "x"),
        ] {
            check(pattern, yes, true);
            check(pattern, no, false);
        }
    }

    #[test]
    fn a_pattern_that_fits_everything_is_none() {
        for pattern in ["", "*", "^", "$", "^$", "^*$", "**"] {
            assert_eq!(Suppression::new(pattern), None, "{pattern}");
        }
    }

    /// The same by trying every way, which is slow and plainly right.
    fn fits(pattern: &[char], name: &[char], to_end: bool) -> bool {
        match pattern {
            [] => !to_end || name.is_empty(),
            ['*', rest @ ..] => (0..=name.len()).any(|skip| fits(rest, &name[skip..], to_end)),
            [first, rest @ ..] => name.first() == Some(first) && fits(rest, &name[1..], to_end),
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_as_by_trying_every_way(
            start in any::<bool>(), middle in "[ab*]{1,6}", end in any::<bool>(), name in "[abc]{0,8}"
        ) {
            let pattern = format!("{}{middle}{}", if start { "^" } else { "" }, if end { "$" } else { "" });
            let letters: Vec<char> = name.chars().collect();
            let middle: Vec<char> = middle.chars().collect();
            let expected = (0..=if start { 0 } else { letters.len() }).any(|from| fits(&middle, &letters[from..], end));
            if let Some(suppression) = Suppression::new(&pattern) {
                prop_assert_eq!(suppression.matches(&name), expected, "{} in {}", pattern, name);
            }
        }
    }
}
