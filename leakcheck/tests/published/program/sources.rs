//! The crates' sources: fetched by cargo, copied once a run, and given the recorder as their global allocator.

use super::suites::Suite;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is put behind the last line of each test program.
const ALLOCATOR: &str = "
#[global_allocator]
static LEAKCHECK_PUBLISHED: ::leakcheck::Leakcheck = ::leakcheck::Leakcheck::system();
";

/// Has cargo write the suites' sources into `folder`. Returns one folder per suite, in their order.
pub(crate) fn fetch(suites: &[&Suite], folder: &Path) -> Result<Vec<PathBuf>, String> {
    let list = folder.join("list");
    let vendor = folder.join("sources");
    let packages: Vec<PathBuf> =
        suites.iter().map(|suite| vendor.join(format!("{}-{}", suite.name, suite.version))).collect();
    if packages.iter().all(|package| package.exists()) {
        // From a run before: what was built of them is still good.
        return Ok(packages);
    }
    write(&list.join("src/lib.rs"), "")?;
    let mut manifest = String::from(
        "[package]\nname = \"list\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n",
    );
    for Suite { name, version, .. } in suites {
        manifest.push_str(&format!("{name} = \"={version}\"\n"));
    }
    write(&list.join("Cargo.toml"), &manifest)?;
    if vendor.exists() {
        fs::remove_dir_all(&vendor).map_err(|error| format!("remove {}: {error}", vendor.display()))?;
    }
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&list).args(["vendor", "--quiet", "--versioned-dirs"]).arg(&vendor);
    let output = cargo.output().map_err(|error| format!("run cargo vendor: {error}"))?;
    if !output.status.success() {
        return Err(format!("fetch sources: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(packages)
}

/// Makes a crate depend on the recorder for its tests, and itself the one that its test dependencies use.
pub(crate) fn depend(suite: &Suite, package: &Path, leakcheck: &Path) -> Result<(), String> {
    let path = package.join("Cargo.toml");
    let mut manifest = read(&path)?;
    if manifest.contains("[dev-dependencies.leakcheck]") {
        return Ok(());
    }
    if !manifest.contains("[workspace]") {
        manifest.push_str("\n[workspace]\n");
    }
    manifest.push_str(&format!("\n[dev-dependencies.leakcheck]\npath = {leakcheck:?}\n"));
    manifest.push_str(&format!("\n[patch.crates-io.{}]\npath = \".\"\n", suite.name));
    // Its versions may be too old for the recorder's dependencies.
    let lock = package.join("Cargo.lock");
    if lock.exists() {
        fs::remove_file(&lock).map_err(|error| format!("remove {}: {error}", lock.display()))?;
    }
    write(&path, &manifest)
}

/// Gives a test program the recorder as global allocator. False when it has an allocator of its own.
pub(crate) fn inject(path: &Path, is_library: bool) -> Result<bool, String> {
    let text = read(path)?;
    if text.contains("LEAKCHECK_PUBLISHED") {
        return Ok(true);
    }
    if text.contains("#[global_allocator]") {
        return Ok(false);
    }
    let allocator =
        if is_library { ALLOCATOR.replace("#[global", "#[cfg(test)]\n#[global") } else { ALLOCATOR.to_owned() };
    write(path, &format!("{text}{allocator}"))?;
    Ok(true)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("make {}: {error}", folder.display()))?;
    }
    fs::write(path, text).map_err(|error| format!("write {}: {error}", path.display()))
}
