//! The house rules that a machine can hold: who may import whom, where packages are used, what files look like, and
//! that the documents name things that exist.
//!
//! Each check takes text and gives back what is wrong with it, so that each can also be shown a planted violation. It
//! reads source as text and does not know Rust's grammar beyond comments, strings and paths.

mod documents;
mod hook;
mod imports;
mod packages;
mod source;

use source::SourceFile;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines a source file may have. Most have far fewer; beyond this one it tells more than one story.
const LINES_MAX: usize = 700;
/// Catalogues: many small entries of one kind, which nobody reads from end to end.
const CATALOGUES: &[&str] = &["leakcheck/tests/detection/shapes.rs"];
/// Names for things that have no name yet.
const NAMELESS: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "manager"];
/// What lies at the top of the repository.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "docs",
    "fixtures",
    "leakcheck",
    "leakcheck-cli",
    "rustfmt.toml",
    "tests",
];

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package lies in the workspace").to_owned()
}

/// All Rust files of the workspace, paths relative to its root.
fn sources() -> Vec<SourceFile> {
    let mut paths = Vec::new();
    for folder in ["leakcheck", "leakcheck-cli", "fixtures", "tests"] {
        collect(&root().join(folder), "rs", &mut paths);
    }
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a source file is UTF-8");
        SourceFile::new(&relative(path), &text)
    };
    paths.iter().map(read).collect()
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace") {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, extension, found);
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn check_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// What is wrong with a file by itself.
fn look_at(file: &SourceFile) -> Vec<String> {
    let mut problems = Vec::new();
    let mut say = |what: String| problems.push(format!("{}: {what}", file.path));
    if !file.text.starts_with("//! ") {
        say("must begin with `//!`: what it is for, and what it deliberately does not do".into());
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX && !CATALOGUES.contains(&file.path.as_str()) {
        say(format!("has {lines} lines, more than {LINES_MAX}: split it"));
    }
    for word in ["#[ignore", "todo!", "unimplemented!"] {
        if file.code.contains(word) {
            say(format!("`{word}` does not go in"));
        }
    }
    let names = file.path.split('/').map(|part| part.trim_end_matches(".rs"));
    if let Some(name) = names.into_iter().find(|name| NAMELESS.contains(name)) {
        say(format!("`{name}` says nothing: name the thing"));
    }
    problems
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let problems: Vec<String> = sources().iter().flat_map(look_at).collect();
    check_none(&problems);
}

#[test]
fn a_bad_file_is_seen() {
    let check = |path: &str, text: &str, says: &str| {
        let problems = look_at(&SourceFile::new(path, text));
        assert!(problems.iter().any(|p| p.contains(says)), "{path}: {problems:?}");
    };
    check("leakcheck/src/x.rs", "fn main() {}\n", "must begin with");
    check("leakcheck/src/x.rs", &"//! Long.\n".repeat(LINES_MAX + 1), "lines");
    check("leakcheck/src/x.rs", "//! X.\n#[test]\n#[ignore]\nfn x() {}\n", "#[ignore");
    check("leakcheck/src/x.rs", "//! X.\nfn x() { todo!() }\n", "todo!");
    check("leakcheck/src/record/helpers.rs", "//! X.\n", "helpers");
    let fine =
        SourceFile::new("leakcheck/src/x.rs", "//! Not todo! but `#[ignore]` in words.\nconst X: &str = \"todo!\";\n");
    check_none(&look_at(&fine));
}

#[test]
fn modules_import_only_what_the_table_allows() {
    check_none(&imports::check(&sources()));
}

#[test]
fn the_hook_does_not_lock_print_or_allocate() {
    check_none(&hook::check(&sources()));
}

#[test]
fn each_named_package_is_used_in_few_places() {
    check_none(&packages::check(&sources()));
}

#[test]
fn the_viewer_does_not_ask_for_the_recorder() {
    let manifest = fs::read_to_string(root().join("leakcheck-cli/Cargo.toml")).expect("the manifest");
    check_none(&packages::check_viewer(&manifest));
}

#[test]
fn the_top_level_holds_what_it_shall() {
    let ignored = fs::read_to_string(root().join(".gitignore")).expect("the list of what is not kept");
    let entries = fs::read_dir(root()).expect("the workspace");
    let names = entries.map(|entry| entry.expect("a folder entry").file_name().to_string_lossy().into_owned());
    let strange: Vec<String> = names
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()))
        .filter(|name| !documents::is_ignored(name, &ignored))
        .map(|name| format!("{name}: does not belong at the top level"))
        .collect();
    check_none(&strange);
    let missing = TOP_LEVEL.iter().filter(|name| !root().join(name).exists());
    check_none(&missing.map(|name| format!("{name}: missing at the top level")).collect::<Vec<_>>());
}

#[test]
fn the_code_map_names_what_exists() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).expect("the architecture document");
    check_none(&documents::check_code_map(&text, &|path| root().join(path).exists()));
}

#[test]
fn each_invariant_is_held_by_a_test() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).expect("the architecture document");
    let tests: Vec<String> = sources().iter().flat_map(source::test_names).collect();
    check_none(&documents::check_invariants(&text, &tests));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut paths = Vec::new();
    collect(&root().join("docs"), "md", &mut paths);
    let at_the_top = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name));
    paths.extend(at_the_top.into_iter().filter(|path| path.exists()));
    let mut problems = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a document is UTF-8");
        let folder = path.parent().expect("a file lies in a folder").to_owned();
        problems.extend(documents::check_links(&relative(&path), &text, &|target| folder.join(target).exists()));
    }
    check_none(&problems);
}
