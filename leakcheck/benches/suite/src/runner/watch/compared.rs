//! The watched program: the same work with and without a watcher, in turn.

use super::watcher::Watcher;
use super::{Bench, PATIENCE};
use crate::runner::outcome::Outcome;
use crate::runner::process;
use crate::runner::statistics::{median, range};
use std::process::Command;
use std::time::Duration;

/// One way to run a workload.
pub(super) struct Case {
    pub(super) name: &'static str,
    child: &'static str,
    mode: &'static str,
    /// Options of the watcher, if there is one.
    watch: Option<&'static [&'static str]>,
    /// Place of the case it is compared with.
    baseline: usize,
}

impl Case {
    pub(super) const fn plain(name: &'static str) -> Self {
        Self { name, child: "child-system", mode: "plain", watch: None, baseline: 0 }
    }

    pub(super) const fn dormant(name: &'static str) -> Self {
        Self { child: "child-leakcheck", mode: "dormant", ..Self::plain(name) }
    }

    pub(super) const fn watched(self, options: &'static [&'static str], baseline: usize) -> Self {
        Self { watch: Some(options), baseline, ..self }
    }
}

/// What a workload is, and for how long the watcher is left alone before it is looked at.
pub(super) struct Work<'a> {
    pub(super) title: &'a str,
    pub(super) arguments: &'a [&'a str],
    pub(super) warm_up: Duration,
}

/// What one run gave.
struct Run {
    outcome: Outcome,
    watcher_part: Option<f64>,
}

const EVERY_SECOND: [&str; 2] = ["--every", "1s"];
const EXACT: [&str; 4] = ["--every", "1s", "--mode", "exact"];

/// The HTTP service at 2,000 requests a second.
pub(super) fn http(bench: &Bench<'_>) -> Result<(), String> {
    let cases = [
        Case::plain("without the recorder"),
        Case::plain("without the recorder, watched").watched(&EVERY_SECOND, 0),
        Case { baseline: 2, ..Case::dormant("recorder dormant") },
        Case::dormant("recorder woken, sampled").watched(&EVERY_SECOND, 2),
        Case::dormant("recorder woken, exact").watched(&EXACT, 2),
    ];
    let arguments =
        ["http", "warmups=1", "regions=2", if bench.options.quick { "requests=6000" } else { "requests=10000" }];
    let work = Work { title: "http, per request", arguments: &arguments, warm_up: Duration::from_secs(4) };
    compare(bench, &work, &cases)
}

/// Runs all cases in turn and prints a table.
pub(super) fn compare(bench: &Bench<'_>, work: &Work<'_>, cases: &[Case]) -> Result<(), String> {
    let mut rounds: Vec<Vec<Run>> = Vec::new();
    for round in 0..bench.options.rounds {
        let mut runs: Vec<Option<Run>> = cases.iter().map(|_| None).collect();
        // Another one is first in each round.
        for place in (0..cases.len()).map(|place| (place + round) % cases.len()) {
            let case = &cases[place];
            eprint!("\r\x1b[K{}: round {} of {}, {}", work.title, round + 1, bench.options.rounds, case.name);
            runs[place] = Some(run(bench, work, case).map_err(|why| format!("{}, {}: {why}", work.title, case.name))?);
        }
        rounds.push(runs.into_iter().flatten().collect());
    }
    eprint!("\r\x1b[K");
    println!("\n| {} | CPU µs | ratio | p50 µs | ratio | p99 µs | ratio | watcher, % of a core |", work.title);
    println!("|---|---|---|---|---|---|---|---|");
    for (place, case) in cases.iter().enumerate() {
        println!("{}", line(case, place, &rounds));
    }
    Ok(())
}

fn line(case: &Case, place: usize, rounds: &[Vec<Run>]) -> String {
    let cpu = |run: &Run| run.outcome.process_mean_ns / 1000.0;
    let fact = |run: &Run, name: &str| run.outcome.facts.get(name).copied().unwrap_or(0.0);
    let figures: [&dyn Fn(&Run) -> f64; 3] = [&cpu, &|run| fact(run, "p50_us"), &|run| fact(run, "p99_us")];
    let mut out = format!("| {} |", case.name);
    for figure in figures {
        let own: Vec<f64> = rounds.iter().map(|runs| figure(&runs[place])).collect();
        let ratios: Vec<f64> = rounds.iter().map(|runs| figure(&runs[place]) / figure(&runs[case.baseline])).collect();
        let ratio = if case.baseline == place { String::new() } else { spread(&ratios, 2) };
        out += &format!(" {:.1} | {ratio} |", median(&own));
    }
    let parts: Vec<f64> = rounds.iter().filter_map(|runs| runs[place].watcher_part).map(|part| part * 100.0).collect();
    let parts = if parts.is_empty() { String::new() } else { spread(&parts, 3) };
    out + &format!(" {parts} |")
}

/// Median, least and greatest.
pub(super) fn spread(values: &[f64], digits: usize) -> String {
    let (least, greatest) = range(values);
    format!("{:.digits$} ({least:.digits$}–{greatest:.digits$})", median(values))
}

fn run(bench: &Bench<'_>, work: &Work<'_>, case: &Case) -> Result<Run, String> {
    let mut command = Command::new(bench.child(case.child));
    command.arg(case.mode).args(work.arguments).env_remove("LEAKCHECK");
    if bench.options.smoke {
        command.args(["scale=0.4", "regions=1"]);
    }
    let mut watcher = None;
    let text = process::output_beside(&mut command, PATIENCE, |pid, elapsed| {
        let Some(options) = case.watch else { return Ok(()) };
        match &mut watcher {
            None => watcher = Some(Watcher::start(&bench.leakcheck, pid, options)?),
            Some(watcher) if elapsed >= work.warm_up => watcher.look()?,
            Some(_) => {}
        }
        Ok(())
    })?;
    if let Some(watcher) = &watcher {
        let (files, recorded) = watcher.files();
        if files == 0 || recorded != (case.child == "child-leakcheck") {
            return Err(format!("the watcher wrote {files} files, the last of them with call sites: {recorded}"));
        }
    }
    let outcome = Outcome::parse(&text)?;
    Ok(Run { outcome, watcher_part: watcher.and_then(|watcher| watcher.part_of_core()) })
}
