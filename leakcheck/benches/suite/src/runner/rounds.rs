//! The rounds: every variant of a row once in turn, again and again.

use super::build::Binaries;
use super::options::{Action, Options};
use super::outcome::Outcome;
use super::process;
use super::rows::Row;
use super::statistics::{median, range};
use super::variants::Variant;
use std::collections::BTreeMap;

/// How long a variant is watched whose recorder works in the background: a few of its snapshots.
const SECONDS: u32 = 4;

/// What one variant did in one row.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) variant: Variant,
    /// Per round; `None` where the child failed.
    pub(crate) outcomes: Vec<Option<Outcome>>,
    /// Per round: CPU nanoseconds an operation of it and of its baseline, where both ran.
    pub(crate) pairs: Vec<(f64, f64)>,
}

/// What came out for one row.
#[derive(Debug, Clone)]
pub(crate) struct RowResult {
    pub(crate) row: Row,
    pub(crate) cells: Vec<Cell>,
    /// What children that failed have said.
    pub(crate) failures: Vec<String>,
}

impl Cell {
    /// The median over the rounds of the ratio to the baseline, with the least and the greatest.
    pub(crate) fn ratio(&self) -> Option<(f64, f64, f64)> {
        spread(&self.pairs.iter().map(|(own, baseline)| own / baseline).collect::<Vec<_>>())
    }

    /// The same of the ratio to another variant; `None` when one of them failed in a round.
    pub(crate) fn ratio_to(&self, other: &Self) -> Option<(f64, f64, f64)> {
        if self.pairs.len() != self.outcomes.len() || other.pairs.len() != self.pairs.len() {
            return None;
        }
        spread(&self.pairs.iter().zip(&other.pairs).map(|((own, _), (others, _))| own / others).collect::<Vec<_>>())
    }

    /// The median over the rounds of what is added to the baseline, nanoseconds an operation.
    pub(crate) fn added_ns(&self) -> f64 {
        median(&self.pairs.iter().map(|(own, baseline)| own - baseline).collect::<Vec<_>>())
    }

    /// The median over the rounds, nanoseconds an operation.
    pub(crate) fn own_ns(&self) -> f64 {
        median(&self.pairs.iter().map(|(own, _)| *own).collect::<Vec<_>>())
    }

    /// The median over the rounds of the highest resident bytes.
    pub(crate) fn peak_bytes(&self) -> f64 {
        median(&self.outcomes.iter().flatten().map(|outcome| outcome.peak_bytes).collect::<Vec<_>>())
    }

    /// The median over the rounds of each fact.
    pub(crate) fn facts(&self) -> BTreeMap<String, f64> {
        let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, value) in self.outcomes.iter().flatten().flat_map(|outcome| &outcome.facts) {
            all.entry(name.clone()).or_default().push(*value);
        }
        all.into_iter().map(|(name, values)| (name, median(&values))).collect()
    }
}

fn spread(ratios: &[f64]) -> Option<(f64, f64, f64)> {
    let (least, greatest) = range(ratios);
    (!ratios.is_empty()).then(|| (median(ratios), least, greatest))
}

/// Measures all rows, and shows all results so far after each.
pub(crate) fn run(
    options: &Options,
    binaries: &Binaries,
    rows: &[Row],
    variants: &[Variant],
    mut show: impl FnMut(&[RowResult]) -> Result<(), String>,
) -> Result<Vec<RowResult>, String> {
    let compared = matches!(options.action, Action::Compare(_));
    // A comparison is to be short: the rows that everyone runs.
    let rows = rows.iter().filter(|row| !compared || row.for_peers || !options.workloads.is_empty());
    let mut results = Vec::new();
    for row in rows {
        let here: Vec<&Variant> = variants.iter().filter(|variant| row.has(variant)).collect();
        if !here.is_empty() {
            results.push(measure(options, binaries, row, &here));
            show(&results)?;
        }
    }
    Ok(results)
}

fn measure(options: &Options, binaries: &Binaries, row: &Row, variants: &[&Variant]) -> RowResult {
    let mut outcomes: Vec<Vec<Option<Outcome>>> = vec![Vec::new(); variants.len()];
    let mut failures = Vec::new();
    for round in 0..options.rounds {
        // Another one is first in each round.
        for place in (0..variants.len()).map(|place| (place + round) % variants.len()) {
            let variant = variants[place];
            eprint!("\r\x1b[K{}: round {} of {}, {}", row.label, round + 1, options.rounds, variant.name);
            let outcome = child(options, binaries, row, variant).map_err(|why| {
                eprintln!("\r\x1b[K{}, {}: {why}", row.label, variant.name);
                failures.push(format!("{}, {}: {why}", row.label, variant.name));
            });
            outcomes[place].push(outcome.ok());
        }
    }
    eprint!("\r\x1b[K");
    let cells = (0..variants.len()).map(|place| cell(row, variants, &outcomes, place)).collect();
    RowResult { row: row.clone(), cells, failures }
}

fn child(options: &Options, binaries: &Binaries, row: &Row, variant: &Variant) -> Result<Outcome, String> {
    let mut command = variant.command(binaries);
    command.arg(row.workload).args(&row.parameters);
    if !options.smoke {
        command.arg(format!("scale={}", scale(options, variant)));
        if variant.in_background {
            command.arg(format!("seconds={SECONDS}"));
        }
    }
    let besides = variant.besides.iter().filter(|(workload, _)| *workload == row.workload);
    command.args(besides.map(|(_, parameter)| parameter));
    Outcome::parse(&process::output_of(&mut command)?)
}

/// The part of the operations to do.
fn scale(options: &Options, variant: &Variant) -> f64 {
    if options.quick { variant.scale * 0.3 } else { variant.scale }
}

fn cell(row: &Row, variants: &[&Variant], outcomes: &[Vec<Option<Outcome>>], place: usize) -> Cell {
    let variant = variants[place];
    let baseline = variants.iter().position(|one| one.name == variant.baseline).unwrap_or(place);
    let figure = |outcome: &Outcome| match () {
        () if variant.in_background => outcome.process_mean_ns,
        () if row.threaded => outcome.process_ns,
        () => outcome.thread_ns,
    };
    let pairs = outcomes[place].iter().zip(&outcomes[baseline]);
    let pairs = pairs.filter_map(|(own, base)| Some((figure(own.as_ref()?), figure(base.as_ref()?)))).collect();
    Cell { variant: variant.clone(), outcomes: outcomes[place].clone(), pairs }
}
