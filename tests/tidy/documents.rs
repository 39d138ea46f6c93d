//! Documents that name code: what they name exists.

/// Whether a pattern of a `.gitignore` at the top level covers a name there.
pub(crate) fn is_ignored(name: &str, ignored: &str) -> bool {
    ignored.lines().any(|line| {
        let pattern = line.trim().trim_start_matches('/').trim_end_matches('/');
        match pattern.split_once('*') {
            Some((start, end)) => name.starts_with(start) && name.ends_with(end) && !pattern.contains("**"),
            None => name == pattern,
        }
    })
}

/// The text between single backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Paths in the section "Code map" that lead nowhere.
pub(crate) fn check_code_map(text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let section = text.split("\n## ").find(|section| section.starts_with("Code map")).unwrap_or_default();
    let paths: Vec<&str> = quoted(section).filter(|word| word.contains('/') && !word.contains(['<', ' '])).collect();
    if paths.is_empty() {
        return vec!["docs/architecture.md: there is no code map".into()];
    }
    let lost = paths.iter().filter(|path| !exists(path));
    lost.map(|path| format!("docs/architecture.md: the code map names `{path}`, which does not exist")).collect()
}

/// Paragraphs that state an invariant without naming a test that exists.
pub(crate) fn check_invariants(text: &str, tests: &[String]) -> Vec<String> {
    let paragraphs: Vec<&str> = text.split("\n\n").flat_map(|p| p.split("\n*Inv")).collect();
    let stated: Vec<&str> = paragraphs.into_iter().filter(|p| p.contains("ariant:*")).collect();
    if stated.is_empty() {
        return vec!["docs/architecture.md: there are no invariants".into()];
    }
    let mut problems = Vec::new();
    for paragraph in stated {
        let Some((statement, holders)) = paragraph.split_once("Held by") else {
            problems.push(format!("docs/architecture.md: held by no test: {}", first_line(paragraph)));
            continue;
        };
        let lost = quoted(holders).filter(|name| !tests.iter().any(|test| test == name));
        problems.extend(
            lost.map(|name| format!("docs/architecture.md: there is no test `{name}`: {}", first_line(statement))),
        );
        if quoted(holders).next().is_none() {
            problems.push(format!("docs/architecture.md: names no test: {}", first_line(statement)));
        }
    }
    problems
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Relative links of a Markdown document that lead nowhere.
pub(crate) fn check_links(path: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.map(|target| target.split('#').next().unwrap_or_default());
    let lost = files.filter(|target| !target.is_empty() && !target.contains("://") && !exists(target));
    lost.map(|target| format!("{path}: the link to `{target}` leads nowhere")).collect()
}

#[test]
fn what_does_not_exist_is_seen() {
    let map =
        "# X\n\n## Code map\n\n| `leakcheck/src/model/` | data |\n| `leakcheck/src/gone/` | x |\n\n## Next\n`a/b`\n";
    assert_eq!(check_code_map(map, &|path| !path.contains("gone")).len(), 1);
    assert_eq!(check_code_map("# X\n", &|_| true).len(), 1);
    assert_eq!(check_links("x.md", "[a](b.md#c) [d](e.md) [f](https://g) [h](#i)", &|path| path == "b.md").len(), 1);
}

#[test]
fn an_invariant_without_its_test_is_seen() {
    let tests = ["a_is_b".to_owned(), "c_is_d".to_owned()];
    let check = |text: &str, problems: usize| assert_eq!(check_invariants(text, &tests).len(), problems, "{text}");
    check("# X\n\n*Invariant:* a is b. Held by `a_is_b`, `c_is_d`.\n", 0);
    check("# X\n\n*Invariant:* a is b.\n", 1);
    check("# X\n\n*Invariant:* a is b. Held by hope.\n", 1);
    check("# X\n\n*Invariant:* a is b. Held by `gone`.\n", 1);
    check("# X\n\n*Invariant:* a. Held by `a_is_b`.\n*Invariant:* b.\n", 1);
    check("# X\n", 1);
}

#[test]
fn patterns_of_what_is_not_kept_are_understood() {
    let ignored = "/target\n/target-*\n**/*.rs.bk\nheap.png\n";
    assert!(["target", "target-2", "heap.png"].iter().all(|name| is_ignored(name, ignored)));
    assert!(!["src", "targets", "x.rs"].iter().any(|name| is_ignored(name, ignored)));
}
