//! Building the children with the leakcheck of another commit.
//!
//! The other commit is checked out beside the build's products, and this suite is copied into it: the same workloads
//! run over both.

use super::build::{self, Binaries, Folder, build_command, succeed};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What of the suite is copied.
const PARTS: [&str; 4] = ["Cargo.toml", "Cargo.lock", "build.rs", "src"];

/// Builds the commit that `revision` names, and says its short name.
pub(crate) fn build(binaries: &Binaries, revision: &str) -> Result<String, String> {
    let target = binaries.target_folder(&Folder::OtherCommit);
    let checkout = target.join("source");
    let name = git_says(&["rev-parse", "--short", "--verify", &format!("{revision}^{{commit}}")])?;
    fs::create_dir_all(&target).map_err(|why| format!("failed to make {}: {why}", target.display()))?;
    // One that a run before this has left behind, if it was stopped.
    remove(&checkout);
    succeed(git().args(["worktree", "add", "--force", "--detach"]).arg(&checkout).arg(&name))?;
    let built = copy_suite(&checkout).and_then(|package| {
        succeed(build_command(&package, &target, &["child-leakcheck"]).env("CARGO_TARGET_DIR", &target))
    });
    remove(&checkout);
    built.map(|()| name)
}

fn copy_suite(checkout: &Path) -> Result<std::path::PathBuf, String> {
    let package = checkout.join("leakcheck/benches/suite");
    let failed = |why: std::io::Error| format!("failed to copy the suite to {}: {why}", package.display());
    if package.exists() {
        fs::remove_dir_all(&package).map_err(failed)?;
    }
    for part in PARTS {
        copy(&build::package().join(part), &package.join(part)).map_err(failed)?;
    }
    Ok(package)
}

/// Copies a file, or a folder with all in it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        return fs::copy(from, to).map(|_| ());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Takes the checkout away, if there is one.
fn remove(checkout: &Path) {
    if checkout.exists() {
        // What cannot be removed is found by the next `git worktree add`.
        let _ = succeed(git().args(["worktree", "remove", "--force"]).arg(checkout).stderr(Stdio::null()));
    }
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(build::package());
    git
}

fn git_says(arguments: &[&str]) -> Result<String, String> {
    let output =
        git().args(arguments).stderr(Stdio::inherit()).output().map_err(|why| format!("failed to start git: {why}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!("git {} failed", arguments.join(" ")))
    }
}
