//! Where the named packages are used: each somewhere, and in few files, so that each can be replaced.

use super::source::{SourceFile, names_after};

/// A package, and in how many files of the crates' sources it may be used at most.
const PACKAGES: &[(&str, usize)] = &[
    ("tracking-allocator", 2),
    ("backtrace", 3),
    ("dashmap", 2),
    ("gimli", 2),
    ("clap", 8),
    ("crossterm", 1),
    ("httparse", 1),
    ("plotters", 3),
    ("procfs", 3),
    ("ratatui", 4),
    // Derives stand where the types are.
    ("serde", 15),
    ("serde_json", 9),
];

pub(crate) fn check(files: &[SourceFile]) -> Vec<String> {
    let mut problems = Vec::new();
    for (package, files_max) in PACKAGES {
        let prefix = format!("{}::", package.replace('-', "_"));
        let users: Vec<&str> = files
            .iter()
            .filter(|file| file.path.contains("/src/") && !file.path.contains("/benches/"))
            .filter(|file| !names_after(file.production_code(), &prefix).is_empty())
            .map(|file| file.path.as_str())
            .collect();
        if users.is_empty() {
            problems.push(format!("{package}: used nowhere"));
        }
        if users.len() > *files_max {
            problems.push(format!("{package}: used in more than {files_max} files: {}", users.join(", ")));
        }
    }
    problems
}

/// What in the viewer's manifest would bring the recorder with it.
pub(crate) fn check_viewer(manifest: &str) -> Vec<String> {
    let dependencies = manifest.split("\n[").find(|section| section.starts_with("dependencies]")).unwrap_or_default();
    let line = dependencies.lines().find(|line| line.starts_with("leakcheck")).unwrap_or_default();
    let asks = line.is_empty() || line.contains("features") || line.contains("path");
    if asks {
        vec![format!("leakcheck-cli must depend on leakcheck without features, found `{line}`")]
    } else {
        Vec::new()
    }
}

#[test]
fn a_package_used_nowhere_or_everywhere_is_seen() {
    let problems = check(&[]);
    assert_eq!(problems.len(), PACKAGES.len());
    let users: Vec<SourceFile> =
        (0..3).map(|n| SourceFile::new(&format!("leakcheck/src/record/x{n}.rs"), "use dashmap::DashMap;")).collect();
    let problems = check(&users);
    assert!(problems.iter().any(|p| p.starts_with("dashmap: used in more than 2 files")), "{problems:?}");
}

#[test]
fn a_viewer_with_the_recorder_is_seen() {
    let manifest =
        |line: &str| format!("[package]\nname = \"x\"\n\n[dependencies]\nclap.workspace = true\n{line}\n\n[lints]\n");
    assert_eq!(check_viewer(&manifest("leakcheck.workspace = true")), [""; 0]);
    assert_eq!(check_viewer(&manifest("leakcheck = { workspace = true, features = [\"record\"] }")).len(), 1);
    assert_eq!(check_viewer(&manifest("leakcheck = { path = \"../leakcheck\" }")).len(), 1);
}
