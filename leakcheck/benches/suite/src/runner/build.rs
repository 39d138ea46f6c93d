//! Building the children with cargo, and finding Rust sources to parse.

use super::variants::{Group, Variant};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A place where children are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Folder {
    /// Beside the runner.
    Release,
    /// Built with frame pointers.
    FramePointers,
    /// Those of another commit.
    OtherCommit,
}

/// Where the children are.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    /// Cargo's folder for everything.
    pub(crate) target: PathBuf,
}

impl Binaries {
    /// Where this program was built.
    pub(crate) fn find() -> Result<Self, String> {
        if cfg!(debug_assertions) {
            return Err("expected a release build: cargo run --release".into());
        }
        let runner = std::env::current_exe().map_err(|why| format!("failed to find this program: {why}"))?;
        let target = runner.ancestors().nth(2).ok_or("this program lies nowhere")?;
        Ok(Self { target: target.to_owned() })
    }

    /// Builds what the variants need.
    pub(crate) fn build(&self, variants: &[Variant]) -> Result<(), String> {
        for folder in [Folder::Release, Folder::FramePointers] {
            let here: Vec<&Variant> = variants.iter().filter(|variant| variant.folder == folder).collect();
            if here.is_empty() {
                continue;
            }
            // It makes the requests of the workload `http`.
            let mut names = vec!["child-system"];
            names.extend(here.iter().map(|variant| variant.binary));
            let mut cargo = build_command(&package(), &self.target_folder(&folder), &names);
            let peers = here.iter().any(|variant| variant.group == Group::Peer);
            match folder {
                Folder::FramePointers => {
                    cargo.env("RUSTFLAGS", "-C force-frame-pointers=yes").env_remove("CARGO_ENCODED_RUSTFLAGS");
                    // It asks for a newer compiler than it needs.
                    cargo.args(["--features", "heapscope", "--ignore-rust-version"]);
                }
                _ if peers => {
                    cargo.args(["--features", "peers"]);
                }
                _ => {}
            }
            succeed(&mut cargo)?;
        }
        Ok(())
    }

    /// The path of a child.
    pub(crate) fn path(&self, folder: &Folder, name: &str) -> PathBuf {
        self.target_folder(folder).join("release").join(name)
    }

    /// Cargo's folder for one kind of build.
    pub(crate) fn target_folder(&self, folder: &Folder) -> PathBuf {
        match folder {
            Folder::Release => self.target.clone(),
            Folder::FramePointers => self.target.join("frame-pointers"),
            Folder::OtherCommit => self.target.join("other-commit"),
        }
    }
}

/// The command, built like the children or named by `LEAKCHECK_COMMAND`.
pub(crate) fn leakcheck_command(binaries: &Binaries) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("LEAKCHECK_COMMAND") {
        return std::path::absolute(path).map_err(|why| format!("failed to find the command: {why}"));
    }
    let target = binaries.target.join("command");
    let workspace = package().join("../../../Cargo.toml");
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--package", "leakcheck-cli", "--manifest-path"]).arg(workspace);
    succeed(cargo.arg("--target-dir").arg(&target))?;
    Ok(target.join("release").join("leakcheck"))
}

/// The folder of this package.
pub(crate) fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Builds some binaries of the suite at `package`.
pub(crate) fn build_command(package: &Path, target: &Path, names: &[&str]) -> Command {
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--manifest-path"]).arg(package.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(target).args(names.iter().flat_map(|name| ["--bin", name]));
    cargo
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a program of the build, whose output is part of the conversation.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|why| format!("failed to start {program}: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} failed: {status}")) }
}

/// Folders with the Rust sources of this package's own dependencies, in a fixed order.
pub(crate) fn sources() -> Result<Vec<PathBuf>, String> {
    const PACKAGES: [&str; 6] = ["syn", "serde_json", "gimli", "object", "hyper", "tokio"];
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--filter-platform", env!("SUITE_TARGET"), "--manifest-path"])
        .arg(package().join("Cargo.toml"))
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
