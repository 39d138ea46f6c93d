//! Building the children with cargo, and finding Rust sources to parse.

use super::options::Options;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the children are.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    release: PathBuf,
}

impl Binaries {
    /// Builds what the options ask for.
    pub(crate) fn build(_options: &Options) -> Result<Self, String> {
        let runner = std::env::current_exe().map_err(|why| format!("failed to find this program: {why}"))?;
        let release = runner.parent().ok_or("this program lies nowhere")?.to_owned();
        cargo(&["build", "--release", "--bin", "child-system", "--bin", "child-leakcheck"])?;
        Ok(Self { release })
    }

    /// The path of a child.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.release.join(name)
    }
}

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")
}

fn cargo_command() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    let (verb, rest) = arguments.split_first().ok_or("no verb for cargo")?;
    let status = cargo_command()
        .arg(verb)
        .arg("--manifest-path")
        .arg(manifest())
        .args(rest)
        .stdin(Stdio::null())
        .status()
        .map_err(|why| format!("failed to start cargo: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("failed to build: cargo {}", arguments.join(" "))) }
}

/// Folders with the Rust sources of this package's own dependencies, in a fixed order.
pub(crate) fn sources() -> Result<Vec<PathBuf>, String> {
    const PACKAGES: [&str; 6] = ["syn", "serde_json", "gimli", "object", "dashmap", "backtrace"];
    let output = cargo_command()
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(manifest())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|why| format!("failed to start cargo: {why}"))?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|why| format!("failed to read cargo's metadata: {why}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo's metadata has no packages")?;
    let folder = |name: &&str| {
        let package = packages.iter().find(|package| package["name"] == **name)?;
        Some(Path::new(package["manifest_path"].as_str()?).parent()?.join("src"))
    };
    Ok(PACKAGES.iter().filter_map(folder).collect())
}
