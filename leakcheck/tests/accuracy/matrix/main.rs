//! Builds the workloads in every way that matters to an unwinder, runs them, and prints what was compared, as a table.
//!
//! ```text
//! cargo run --manifest-path leakcheck/tests/accuracy/Cargo.toml [-- [--short] [BUILD…]]
//! ```
//!
//! The builds are those of `BUILDS`, in which the library's own tests of the unwinder are run as well; `--short` is two of them with
//! less work each and without those tests, for `.ci/run`; named builds are run in either form. In the first build each program is
//! also run with a planted difference, which it must see. Exit code 1 when a stack differs and no reason is known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

struct Build {
    name: &'static str,
    profile: &'static str,
    /// Where cargo puts the products of that profile.
    folder: &'static str,
    flags: &'static str,
    is_short: bool,
}

const FRAME_POINTERS: &str = "-Cforce-frame-pointers=yes";
/// Leaves gaps between the segments of a program, as some have by chance.
const IN_PIECES: &str = "-Clink-arg=-Wl,-z,max-page-size=2097152";

const BUILDS: &[Build] = &[
    Build { name: "debug", profile: "dev", folder: "debug", flags: "", is_short: false },
    Build { name: "debug, mapped in pieces", profile: "dev", folder: "debug", flags: IN_PIECES, is_short: true },
    Build { name: "debug, frame pointers", profile: "dev", folder: "debug", flags: FRAME_POINTERS, is_short: false },
    Build { name: "release", profile: "release", folder: "release", flags: "", is_short: true },
    Build {
        name: "release, frame pointers",
        profile: "release",
        folder: "release",
        flags: FRAME_POINTERS,
        is_short: false,
    },
    Build {
        name: "release, AVX2",
        profile: "release",
        folder: "release",
        flags: "-Ctarget-feature=+avx2",
        is_short: false,
    },
    Build { name: "fat LTO", profile: "fat", folder: "fat", flags: "", is_short: false },
    Build { name: "fat LTO, frame pointers", profile: "fat", folder: "fat", flags: FRAME_POINTERS, is_short: false },
    Build { name: "panic=abort", profile: "abort", folder: "abort", flags: "", is_short: false },
    Build {
        name: "panic=abort, frame pointers",
        profile: "abort",
        folder: "abort",
        flags: FRAME_POINTERS,
        is_short: false,
    },
    Build { name: "opt-level z", profile: "small", folder: "small", flags: "", is_short: false },
    Build {
        name: "opt-level z, frame pointers",
        profile: "small",
        folder: "small",
        flags: FRAME_POINTERS,
        is_short: false,
    },
];

/// The row of the library's own tests.
const TESTS: &str = "(the unwinder's own tests, passed)";

const PROGRAMS: [&str; 2] = ["workloads", "recorded"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_short = arguments.iter().any(|argument| argument == "--short");
    let names: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| *argument != "--short").collect();
    if let Some(unknown) = names.iter().find(|name| BUILDS.iter().all(|build| build.name != **name)) {
        let known: Vec<&str> = BUILDS.iter().map(|build| build.name).collect();
        eprintln!("failed to read {unknown}: expected --short or one of: {}", known.join("; "));
        return ExitCode::from(2);
    }
    let is_chosen = |build: &&Build| {
        if names.is_empty() { !is_short || build.is_short } else { names.contains(&build.name) }
    };
    let mut table = Table::default();
    for (place, build) in BUILDS.iter().filter(is_chosen).enumerate() {
        let mistakes_before = table.mistakes.len();
        if let Err(error) = run(build, is_short, place == 0, &mut table) {
            // The table of the others is still worth having.
            table.mistakes.push(format!("{}: failed to {error}", build.name));
        }
        for mistake in table.mistakes.iter().skip(mistakes_before) {
            eprintln!("mistake: {mistake}");
        }
        eprintln!("{} stacks so far, {} mistakes", table.stacks.values().sum::<u64>(), table.mistakes.len());
    }
    table.print();
    if table.mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(build: &Build, is_short: bool, is_planted: bool, table: &mut Table) -> Result<(), String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let products = products(package, build);
    eprintln!("building: {}", build.name);
    let mut cargo = cargo("build", package, build);
    cargo.args(PROGRAMS.iter().flat_map(|program| ["--bin", program]));
    let status = cargo.status().map_err(|error| format!("run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("build {}", build.name));
    }
    table.builds.push(build.name);
    for name in PROGRAMS {
        let program = products.join(build.folder).join(name);
        run_program(&program, is_short, build, table)?;
        if is_planted {
            check_planted(&program, build, table)?;
        }
    }
    // Tests always unwind: to them, a build that aborts is the one that does not.
    if is_short || build.profile == "abort" { Ok(()) } else { run_tests(package, build, table) }
}

/// The library's own tests of the unwinder, in this build.
fn run_tests(package: &Path, build: &Build, table: &mut Table) -> Result<(), String> {
    let mut cargo = cargo("test", package, build);
    let output =
        cargo.args(["--tests", "--no-fail-fast"]).output().map_err(|error| format!("run cargo test: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let passed: u64 = text.lines().filter_map(passed_tests).sum();
    table.tests.insert((TESTS.to_owned(), build.name), passed);
    if !output.status.success() || passed == 0 {
        let said = String::from_utf8_lossy(&output.stderr);
        table.mistakes.push(format!("{}: the unwinder's tests: {text}{said}", build.name));
    }
    Ok(())
}

/// The number in `test result: ok. 12 passed; …`.
fn passed_tests(line: &str) -> Option<u64> {
    line.strip_prefix("test result: ")?.split_once(". ")?.1.split(' ').next()?.parse().ok()
}

fn cargo(verb: &str, package: &Path, build: &Build) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([verb, "--quiet", "--locked", "--profile", build.profile, "--manifest-path"])
        .arg(package.join("Cargo.toml"));
    cargo.env("CARGO_TARGET_DIR", products(package, build)).env("RUSTFLAGS", build.flags);
    cargo
}

/// Builds with other compiler flags share nothing, so each set of flags has a folder of its own.
fn products(package: &Path, build: &Build) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| package.join("target"), PathBuf::from);
    match build.flags {
        "" => target,
        FRAME_POINTERS => target.join("frame-pointers"),
        _ => target.join("other-flags"),
    }
}

fn run_program(program: &Path, is_short: bool, build: &Build, table: &mut Table) -> Result<(), String> {
    let mut command = Command::new(program);
    if is_short {
        command.arg("--short");
    }
    let output = command.output().map_err(|error| format!("run {}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let before = table.mistakes.len();
    for line in text.lines() {
        table.note(build.name, line);
    }
    if !output.status.success() && table.mistakes.len() == before {
        let said = String::from_utf8_lossy(&output.stderr);
        table.mistakes.push(format!("{}: {} ended with {}: {said}", build.name, program.display(), output.status));
    }
    Ok(())
}

/// A program that is shown a falsified stack must call it a mistake.
fn check_planted(program: &Path, build: &Build, table: &mut Table) -> Result<(), String> {
    let output = Command::new(program).args(["--short", "--plant"]).output();
    let output = output.map_err(|error| format!("run {}: {error}", program.display()))?;
    let saw = output.status.code() == Some(1) && String::from_utf8_lossy(&output.stdout).contains("\nmistake\t");
    if !saw {
        table.mistakes.push(format!("{}: {} does not see a planted difference", build.name, program.display()));
    }
    Ok(())
}

/// Stacks compared, by workload and build.
#[derive(Default)]
struct Table {
    builds: Vec<&'static str>,
    /// In the order of the first build.
    workloads: Vec<String>,
    stacks: BTreeMap<(String, &'static str), u64>,
    frames: u64,
    taken_over: u64,
    /// How many stacks differ, by reason and build.
    explained: BTreeMap<(String, &'static str), u64>,
    /// Tests passed, by build.
    tests: BTreeMap<(String, &'static str), u64>,
    mistakes: Vec<String>,
}

impl Table {
    /// Takes in one line of a program's output.
    fn note(&mut self, build: &'static str, line: &str) {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |field: &str| field.parse::<u64>().unwrap_or_default();
        match fields[..] {
            ["workload", name, stacks, frames, taken_over] => {
                if !self.workloads.iter().any(|workload| workload == name) {
                    self.workloads.push(name.to_owned());
                }
                *self.stacks.entry((name.to_owned(), build)).or_default() += number(stacks);
                self.frames += number(frames);
                self.taken_over += number(taken_over);
            }
            ["explained", _, count, reason] => {
                *self.explained.entry((reason.to_owned(), build)).or_default() += number(count);
            }
            ["mistake", what] => self.mistakes.push(format!("{build}: {what}")),
            _ => {}
        }
    }

    fn print(&self) {
        println!(
            "stacks compared\n\n| workload | {} |\n|---|{}",
            self.builds.join(" | "),
            "--:|".repeat(self.builds.len())
        );
        for workload in &self.workloads {
            self.print_row(workload, &self.stacks);
        }
        if !self.tests.is_empty() {
            self.print_row(TESTS, &self.tests);
        }
        println!(
            "\nexplained: differences from framehop, where `backtrace` sides with the fast unwinder, and losses\n"
        );
        let mut reasons: Vec<&String> = self.explained.keys().map(|(reason, _)| reason).collect();
        reasons.dedup();
        for reason in reasons {
            self.print_row(reason, &self.explained);
        }
        let (stacks, explained) = (self.stacks.values().sum::<u64>(), self.explained.values().sum::<u64>());
        println!(
            "\n{stacks} stacks of {} frames, {} of them taken over from the walk before: {} mistakes, {explained} explained differences",
            self.frames,
            self.taken_over,
            self.mistakes.len(),
        );
        for mistake in &self.mistakes {
            println!("mistake: {mistake}");
        }
    }

    fn print_row(&self, name: &str, counts: &BTreeMap<(String, &'static str), u64>) {
        let count =
            |build: &&'static str| counts.get(&(name.to_owned(), *build)).copied().unwrap_or_default().to_string();
        let cells: Vec<String> = self.builds.iter().map(count).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}
