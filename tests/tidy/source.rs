//! Rust source as text: the code without comments and literals, and the paths and tests in it.

/// A file, as it is and without what is not code.
pub(crate) struct SourceFile {
    /// Relative to the workspace.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
    /// Comments and the insides of literals blanked out.
    pub(crate) code: String,
}

impl SourceFile {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: code_of(text) }
    }

    /// The code before the unit tests, which stand last in a file.
    pub(crate) fn production_code(&self) -> &str {
        self.code.find("#[cfg(test)]\nmod ").map_or(&self.code, |end| &self.code[..end])
    }
}

/// The text with comments and the insides of string and character literals left out.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = literal_or_comment(rest, code.chars().next_back());
        if skipped > 0 {
            code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    code
}

/// How long the comment or literal is that begins here; 0 when none does.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    let upto = |end: Option<usize>| end.unwrap_or(rest.len());
    if rest.starts_with("//") {
        return upto(rest.find('\n'));
    }
    if rest.starts_with("/*") {
        return upto(rest.find("*/").map(|at| at + 2));
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word && let Some(after) = rest.strip_prefix('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        if after[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = 2 + hashes;
            return upto(rest[begin..].find(&end).map(|at| begin + at + end.len()));
        }
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return upto(end_of_quoted(inside, '"').map(|at| at + 1));
    }
    // A character, not a lifetime: 'x' or an escape.
    if let Some(inside) = rest.strip_prefix('\'') {
        let mut chars = inside.chars();
        let is_char = match chars.next() {
            Some('\\') => true,
            Some(_) => chars.next() == Some('\''),
            None => false,
        };
        if is_char {
            return upto(end_of_quoted(inside, '\'').map(|at| at + 1));
        }
    }
    0
}

/// The place after the closing quote.
fn end_of_quoted(inside: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    inside.char_indices().find_map(|(at, c)| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at + 1)
    })
}

/// The first names of all paths that begin with `prefix`, such as `crate::`; those of groups in braces as well.
pub(crate) fn names_after<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        let after = &code[at + prefix.len()..];
        match after.strip_prefix('{') {
            Some(group) => names.extend(names_of_group(group)),
            None => names.push(name_at(after)),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The first name of each member of a group whose opening brace was read.
fn names_of_group(group: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut depth, mut member) = (0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name_at(group[member..at].trim_start()));
                member = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn name_at(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Names of the functions marked as tests, or listed as such.
pub(crate) fn test_names(file: &SourceFile) -> Vec<String> {
    let listed = file.code.split("tests![").skip(1).filter_map(|rest| rest.split(']').next());
    let listed = listed.flat_map(|names| names.split(',').map(str::trim)).filter(|name| !name.is_empty());
    let after_mark = file.code.split("#[test]").skip(1);
    let declared = after_mark.filter_map(|rest| rest.split_once("fn ").map(|(_, name)| name_at(name)));
    declared.chain(listed).map(str::to_owned).collect()
}

#[test]
fn comments_and_literals_are_no_code() {
    for (text, code) in [
        ("a // crate::x\nb", "a  \nb"),
        ("a /* crate::x */ b", "a   b"),
        (r#"f("crate::x \" y") + 1"#, "f( ) + 1"),
        ("f(r#\"crate::x \" y\"#) + 1", "f( ) + 1"),
        ("c == '\"' && d", "c ==   && d"),
        (r"c == '\'' && d", "c ==   && d"),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
    ] {
        assert_eq!(code_of(text), code);
    }
}

#[test]
fn names_of_single_and_grouped_paths_are_found() {
    let code =
        "use crate::model::Site; use crate::{format, record::{hook, tail}, Leakcheck}; fn f() { crate::unwind::go() }";
    assert_eq!(names_after(code, "crate::"), ["model", "format", "record", "Leakcheck", "unwind"]);
    assert_eq!(names_after("mycrate::x $crate::y", "crate::"), [""; 0]);
}
