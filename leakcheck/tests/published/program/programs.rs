//! A crate's test programs: found by cargo, injected, built. Running them is not done here.

use super::sources;
use super::suites::Suite;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One test program, built.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
}

/// The programs of a suite, and those that were left out with the reason.
pub(crate) struct Programs {
    pub(crate) built: Vec<Program>,
    pub(crate) left_out: Vec<(String, String)>,
}

/// A test target as cargo knows it.
struct Target {
    name: String,
    source: PathBuf,
    is_library: bool,
}

/// Injects and builds all test programs of the crate in `package`.
pub(crate) fn build(suite: &Suite, package: &Path, products: &Path, is_release: bool) -> Result<Programs, String> {
    let (mut chosen, mut left_out) = (Vec::new(), Vec::new());
    for target in targets(package)? {
        let listed = suite.left_out.iter().find(|(name, _)| *name == target.name);
        if let Some((_, why)) = listed {
            left_out.push((target.name, (*why).to_owned()));
        } else if sources::inject(&target.source, target.is_library)? {
            chosen.push(target);
        } else {
            left_out.push((target.name, "has a global allocator of its own".to_owned()));
        }
    }
    let mut cargo = Command::new("cargo");
    cargo.current_dir(package).env("CARGO_TARGET_DIR", products).args([
        "build",
        "--tests",
        "--keep-going",
        "--message-format=json",
    ]);
    // Half the time to build; the runs write no names.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    cargo.args(["--quiet", "--features", &suite.features.join(",")]);
    if is_release {
        cargo.arg("--release");
    }
    let output = cargo.output().map_err(|error| format!("run cargo build: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let executable_of = |target: &Target| {
        let is_it = |message: &&Value| {
            message["target"]["name"] == target.name.as_str()
                && message["target"]["kind"][0] == if target.is_library { "lib" } else { "test" }
                && message["profile"]["test"] == true
        };
        messages.iter().filter(is_it).find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
    };
    let mut built = Vec::new();
    for target in chosen {
        match executable_of(&target) {
            Some(executable) => built.push(Program { name: target.name, executable }),
            None => left_out.push((target.name, "does not compile beside the recorder's dependencies".to_owned())),
        }
    }
    if built.is_empty() {
        let rendered = messages.iter().filter(|message| message["message"]["level"] == "error");
        let errors: String = rendered.filter_map(|message| message["message"]["rendered"].as_str()).take(5).collect();
        return Err(format!("build the tests of {}: {errors}{}", suite.name, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(Programs { built, left_out })
}

fn targets(package: &Path) -> Result<Vec<Target>, String> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(package).args(["metadata", "--no-deps", "--format-version=1"]);
    let output = cargo.output().map_err(|error| format!("run cargo metadata: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("read metadata: {error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let targets = metadata["packages"][0]["targets"].as_array().ok_or("read metadata: no targets")?;
    let wanted = targets.iter().filter_map(|target| {
        let is_library = target["kind"][0] == "lib";
        let is_wanted = target["kind"][0] == "test" || is_library;
        (is_wanted && target["test"] == true).then(|| {
            let text = |field: &str| target[field].as_str().unwrap_or_default().to_owned();
            Target { name: text("name"), source: text("src_path").into(), is_library }
        })
    });
    Ok(wanted.collect())
}
