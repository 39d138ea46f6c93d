//! Who may import whom. This table is the one in `docs/architecture.md`; it has no cycles.

use super::source::{SourceFile, names_after};
use std::collections::BTreeMap;

/// One row: a module at the top of a crate, and the modules beside it that it may use.
type Row = (&'static str, &'static [&'static str]);

/// The crates, by the folder of their sources.
const TABLE: &[(&str, &[Row])] = &[
    (
        "leakcheck/src/",
        &[
            ("model", &[]),
            ("analysis", &["model"]),
            ("cgroup", &[]),
            ("control", &["model"]),
            ("format", &["model"]),
            ("symbolize", &["model"]),
            ("heap_graph", &["model"]),
            ("unwind", &[]),
            ("record", &["cgroup", "control", "model", "unwind", "format", "symbolize"]),
            ("testing", &["model", "record", "analysis"]),
        ],
    ),
    (
        "leakcheck-cli/src/",
        &[
            ("error", &[]),
            ("exit", &[]),
            ("units", &[]),
            ("cli", &["units"]),
            ("input", &["error", "units"]),
            ("render", &["error", "units"]),
            ("commands", &["cli", "error", "exit", "input", "render", "units"]),
        ],
    ),
];

/// Code that must not appear in modules that are pure: no input or output, no clock, no globals, no panic.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "thread_local!",
    "OnceLock",
    "LazyLock",
    "static mut",
    "println!",
    "panic!",
];
const PURE: &[&str] = &["leakcheck/src/model/", "leakcheck/src/analysis/"];

/// Everything in `files` that the table does not allow.
pub(crate) fn check(files: &[SourceFile]) -> Vec<String> {
    let mut problems = Vec::new();
    for (folder, rows) in TABLE {
        let of_crate: Vec<(&SourceFile, Vec<&str>)> =
            files.iter().filter_map(|file| Some((file, module_path(file.path.strip_prefix(folder)?)))).collect();
        let root = of_crate.iter().find(|(_, path)| path.is_empty()).map(|(file, _)| *file);
        let re_exports = root.map(re_exports).unwrap_or_default();
        for (file, path) in &of_crate {
            problems.extend(check_file(file, path, rows, &re_exports));
        }
    }
    for file in files.iter().filter(|file| PURE.iter().any(|folder| file.path.starts_with(folder))) {
        let impure = IMPURE.iter().filter(|word| file.production_code().contains(**word));
        problems.extend(impure.map(|word| format!("{}: `{word}` in a pure module", file.path)));
    }
    problems
}

fn check_file(file: &SourceFile, path: &[&str], rows: &[Row], re_exports: &BTreeMap<&str, &str>) -> Vec<String> {
    // The root of a crate declares and re-exports.
    let Some(module) = path.first() else { return Vec::new() };
    let Some((_, allowed)) = rows.iter().find(|(name, _)| name == module) else {
        return vec![format!("{}: module `{module}` is not in the import table", file.path)];
    };
    let code = file.production_code();
    let mut used = names_after(code, "crate::");
    // As many `super::` as the module is deep lead to the root of the crate.
    used.extend(names_after(code, &"super::".repeat(path.len())));
    let modules = used.iter().map(|name| re_exports.get(name).unwrap_or(name));
    let mut strangers: Vec<&str> = modules
        .copied()
        .filter(|name| rows.iter().any(|(module, _)| module == name))
        .filter(|name| name != module && !allowed.contains(name))
        .collect();
    strangers.sort_unstable();
    strangers.dedup();
    strangers.iter().map(|name| format!("{}: `{module}` must not use `{name}`", file.path)).collect()
}

/// `record/hook.rs` is the module `record::hook`, `record/mod.rs` is `record`, and `lib.rs` the root.
fn module_path(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if parts.last() == Some(&"mod") || (parts.len() == 1 && matches!(parts[0], "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// Which module each name comes from that the root of a crate re-exports.
fn re_exports(root: &SourceFile) -> BTreeMap<&str, &str> {
    let mut origin = BTreeMap::new();
    for statement in root.code.split("pub use ").skip(1) {
        let statement = statement.split(';').next().unwrap_or_default();
        let Some((module, names)) = statement.split_once("::") else { continue };
        let names = names.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|name| !name.is_empty());
        origin.extend(names.map(|name| (name, module)));
    }
    origin
}

#[test]
fn the_table_has_no_cycle() {
    for (_, rows) in TABLE {
        let mut left: Vec<&Row> = rows.iter().collect();
        while !left.is_empty() {
            let names: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
            let before = left.len();
            left.retain(|(_, uses)| uses.iter().any(|name| names.contains(name)));
            assert!(left.len() < before, "a cycle among {names:?}");
        }
    }
}

#[test]
fn a_forbidden_import_is_seen() {
    let root = "//! X.\npub use record::{Leakcheck, snapshot};\n";
    let check_one = |path: &str, code: &str, says: &str| {
        let files = [SourceFile::new("leakcheck/src/lib.rs", root), SourceFile::new(path, code)];
        let problems = check(&files);
        assert!(problems.iter().any(|p| p.contains(says)), "{code}: {problems:?}");
    };
    check_one("leakcheck/src/model/site.rs", "use crate::format::read;", "`model` must not use `format`");
    check_one("leakcheck/src/model/mod.rs", "use super::record::hook;", "`model` must not use `record`");
    check_one("leakcheck/src/model/site.rs", "fn f() { super::super::analysis::judge() }", "must not use `analysis`");
    check_one("leakcheck/src/unwind/x.rs", "use crate::{model::Frame};", "`unwind` must not use `model`");
    check_one("leakcheck/src/analysis/x.rs", "use crate::snapshot;", "`analysis` must not use `record`");
    check_one("leakcheck/src/things/x.rs", "", "not in the import table");
    check_one("leakcheck/src/analysis/x.rs", "fn f() { std::fs::read(\"x\"); }", "`std::fs` in a pure module");
    check_one("leakcheck-cli/src/render/x.rs", "use crate::commands::Run;", "`render` must not use `commands`");
}

#[test]
fn an_allowed_import_is_not_complained_about() {
    let fine = [
        SourceFile::new("leakcheck/src/record/hook.rs", "use super::tail::Tail;\nuse crate::{model::Mode, unwind};"),
        SourceFile::new("leakcheck/src/format/read.rs", "#[cfg(test)]\nmod tests { use crate::record::x; }"),
        SourceFile::new("leakcheck/src/analysis/x.rs", "// crate::record is not used here\nuse crate::model::Site;"),
    ];
    assert_eq!(check(&fine), [""; 0]);
}
