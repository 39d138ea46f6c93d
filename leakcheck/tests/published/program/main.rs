//! The test suites of published crates, with the recorder as their global allocator: dormant, exact and sampled, several times
//! over. All outcomes must be those of the dormant run.
//!
//! ```text
//! cargo run --release --manifest-path leakcheck/tests/published/Cargo.toml -- [--repeat N] [--release] [--folder DIR] [CRATE…]
//! ```
//!
//! Needs a registry, the room of some gigabytes and half an hour, so it is no part of `.ci/run`. It judges no crate: a test that
//! fails in the dormant run is only compared.

mod programs;
mod runs;
mod sources;
mod suites;

use runs::{Mode, Run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use suites::{SUITES, Suite};

struct Options {
    repeat: usize,
    is_release: bool,
    folder: PathBuf,
    /// Seconds after which a test program counts as hung.
    patience: Duration,
    names: Vec<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        repeat: 3,
        is_release: false,
        folder: std::env::temp_dir().join("leakcheck-published"),
        patience: Duration::from_secs(900),
        names: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("read {argument}: expected a value"));
        let number = |text: String| text.parse::<u64>().map_err(|error| format!("read {text}: {error}"));
        match argument.as_str() {
            "--repeat" => options.repeat = number(value()?)? as usize,
            "--patience" => options.patience = Duration::from_secs(number(value()?)?),
            "--folder" => options.folder = value()?.into(),
            "--release" => options.is_release = true,
            name if SUITES.iter().any(|suite| suite.name == name) => options.names.push(name.to_owned()),
            other => return Err(format!("read {other}: expected an option or one of the crates in suites.rs")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options().and_then(|options| run_all(&options)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(differences) => {
            println!("{differences} differences from the dormant runs");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("failed to {error}");
            ExitCode::from(2)
        }
    }
}

fn run_all(options: &Options) -> Result<usize, String> {
    let is_chosen = |suite: &&Suite| options.names.is_empty() || options.names.iter().any(|name| name == suite.name);
    let suites: Vec<&Suite> = SUITES.iter().filter(is_chosen).collect();
    let leakcheck = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let leakcheck = leakcheck.canonicalize().map_err(|error| format!("find {}: {error}", leakcheck.display()))?;
    let packages = sources::fetch(&suites, &options.folder)?;
    let mut differences = 0;
    println!(
        "| crate | version | tests | mode | passed, of runs | seconds | recorder's losses |\n|---|---|---|---|---|---|---|"
    );
    for (suite, package) in suites.iter().zip(&packages) {
        match run_suite(suite, package, &leakcheck, options) {
            Ok(found) => differences += found,
            Err(error) => {
                differences += 1;
                println!("| {} | {} | | | not run | | |", suite.name, suite.version);
                eprintln!("failed to {error}");
            }
        }
    }
    Ok(differences)
}

/// The sum of one mode's runs of a suite.
#[derive(Default)]
struct Sum {
    seconds: f64,
    snapshots: usize,
    losses: BTreeMap<String, u64>,
    as_expected: usize,
}

fn run_suite(suite: &Suite, package: &Path, leakcheck: &Path, options: &Options) -> Result<usize, String> {
    sources::depend(suite, package, leakcheck)?;
    let programs = programs::build(suite, package, &options.folder.join("target"), options.is_release)?;
    for (name, why) in &programs.left_out {
        eprintln!("{}: {name} is left out: {why}", suite.name);
    }
    let (mut sums, mut test_count, mut differences) = ([(); 3].map(|()| Sum::default()), 0, 0);
    for program in &programs.built {
        let mut expected: Option<Run> = None;
        for mode in Mode::ALL {
            for _ in 0..options.repeat {
                let run = runs::run(program, mode, package, &options.folder, options.patience)?;
                let sum = &mut sums[mode as usize];
                sum.seconds += run.elapsed.as_secs_f64();
                sum.snapshots += run.snapshots;
                for (name, count) in &run.losses {
                    *sum.losses.entry(name.clone()).or_default() += count;
                }
                let passed_count = run.tests.values().filter(|outcome| *outcome != "ignored").count();
                let Some(expected) = &expected else {
                    test_count += passed_count;
                    if run.ending() != "exit code 0" {
                        eprintln!("{}: {} ends with {} when dormant", suite.name, program.name, run.ending());
                        eprintln!("{}", last_lines(&run.output));
                    }
                    expected = Some(run);
                    continue;
                };
                let wrong = differences_between(expected, &run);
                differences += wrong.len();
                if wrong.is_empty() {
                    sum.as_expected += passed_count;
                } else {
                    eprintln!("{} {} {}: {}", suite.name, program.name, mode.name(), wrong.join("; "));
                    eprintln!("{}", last_lines(&run.output));
                }
            }
        }
    }
    for mode in Mode::ALL {
        let sum = &sums[mode as usize];
        let losses: Vec<String> = sum.losses.iter().map(|(name, count)| format!("{count} {name}")).collect();
        println!(
            "| {} | {} | {test_count} | {} | {} of {} | {:.1} | {} |",
            suite.name,
            suite.version,
            mode.name(),
            sum.as_expected + if mode == Mode::Dormant { test_count } else { 0 },
            test_count * options.repeat,
            sum.seconds,
            if mode == Mode::Dormant {
                "-".to_owned()
            } else {
                format!("{} ({} snapshots)", losses.join(", "), sum.snapshots)
            },
        );
    }
    Ok(differences)
}

fn differences_between(expected: &Run, run: &Run) -> Vec<String> {
    let mut wrong = Vec::new();
    if expected.ending() != run.ending() {
        wrong.push(format!("{} instead of {}", run.ending(), expected.ending()));
    }
    for (name, outcome) in &expected.tests {
        match run.tests.get(name) {
            Some(found) if found == outcome => {}
            Some(found) => wrong.push(format!("{name} {found} instead of {outcome}")),
            None => wrong.push(format!("{name} is missing")),
        }
    }
    wrong.extend(
        run.tests.keys().filter(|name| !expected.tests.contains_key(*name)).map(|name| format!("{name} is new")),
    );
    wrong
}

/// Enough of a failed program's output to see why.
fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
