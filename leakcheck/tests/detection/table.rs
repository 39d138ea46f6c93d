//! Cases, their outcomes, and the table of both.

use crate::shapes::{self, Kind, Part, Set};
use crate::world::{Place, Plan, Random, Run, World, run, series};
use leakcheck::analysis::{Cause, Finding, JudgeOptions, Judgement, Verdict, judge};
use leakcheck::model::{Mode, Snapshot};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How fast a leak is against the fastest, and how much else happens.
pub const RATES: [f64; 3] = [1.0, 1.0 / 20.0, 1.0 / 200.0];
pub const LENGTHS: [usize; 5] = [8, 15, 30, 60, 200];
/// Blocks are 64 to 1024 bytes, so that between one in 33 and one in 3 is recorded.
pub const MODES: [Mode; 2] = [Mode::Exact, Mode::Sampled { interval_bytes: 2048 }];

/// One run of one kind.
#[derive(Clone, Copy)]
pub struct Case {
    pub kind: &'static Kind,
    pub rate: usize,
    pub mode: usize,
    pub length: usize,
    pub seed: u64,
}

/// A simulated run with its right answer.
pub struct Simulated {
    pub snapshots: Vec<Snapshot>,
    pub guilty: Vec<String>,
    pub causes: Vec<Cause>,
    /// How often the leak left a trace in the records after the first fifth of the run.
    pub traces: u64,
}

/// With fewer traces nobody can tell a leak from a few blocks that stay: such cases do not count.
pub const TRACES_MIN: u64 = 10;

/// What was said of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// A guilty site is said to leak.
    pub found: bool,
    /// It is, and for a right cause.
    pub explained: bool,
    /// No guilty site is said to leak, and it is said to be bounded.
    pub missed_bounded: bool,
    /// Nothing is said to leak, but something may.
    pub open: bool,
    /// A site that does not leak is said to.
    pub accused: bool,
    /// The leak left too few traces to be seen.
    pub unseen: bool,
    /// The probability of each finding shown that is not bounded, with the truth.
    pub probabilities: Vec<(f64, bool)>,
}

impl Case {
    /// The seed of the simulation: different for each case, the same in each run.
    fn mixed_seed(&self) -> u64 {
        let name = self.kind.name.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(131).wrapping_add(byte.into()));
        [self.rate, self.mode, self.length]
            .iter()
            .fold(name ^ self.seed, |hash, &part| hash.wrapping_mul(1_000_003).wrapping_add(part as u64))
    }

    pub fn simulate(&self) -> Simulated {
        let mut random = Random::new(self.mixed_seed());
        let plan = Plan {
            snapshots: LENGTHS[self.length],
            every_ms: [500, 2000, 60_000][random.below(3)],
            jitter: [0.0, 0.1, 0.5][random.below(3)],
            mode: MODES[self.mode],
            iterations: random.chance(0.5),
            steps: 6,
        };
        let mut world = World::new(plan, random.next());
        let mut behaviours = shapes::background(&mut world);
        let mut part = Part::new(&mut world, RATES[self.rate]);
        (self.kind.build)(&mut part);
        let (mut own, guilty, causes) = (part.behaviours, part.guilty, part.causes);
        behaviours.append(&mut own);
        let (exit, dropped) = (random.chance(0.8), random.chance(0.5));
        let kept: &[Place] = if dropped { &[] } else { &guilty };
        let Run { mut snapshots, traces } = run(&mut world, &mut behaviours, exit, kept);
        disturb(&mut snapshots, &mut random);
        let traces = guilty.iter().filter_map(|site| traces.get(*site)).copied().max().unwrap_or(0);
        let guilty = guilty.into_iter().map(|site| world.name(site).to_owned()).collect();
        Simulated { snapshots, guilty, causes, traces }
    }

    pub fn outcome(&self) -> Outcome {
        let simulated = self.simulate();
        let judgement = judge(&series(&simulated.snapshots), &JudgeOptions::default());
        let mut outcome = Outcome::of(&judgement, &simulated);
        if self.kind.leaking && simulated.traces < TRACES_MIN {
            outcome = Outcome { found: false, explained: false, missed_bounded: false, unseen: true, ..outcome };
        }
        let wrong = outcome.accused || outcome.missed_bounded || self.kind.leaking && !outcome.found && !outcome.unseen;
        // Of the held-out set only totals are looked at.
        if wrong && self.kind.set == Set::Development && std::env::var_os("LEAKCHECK_CORPUS_VERBOSE").is_some() {
            eprintln!("{}", self.explain(&judgement, &simulated));
        }
        outcome
    }

    fn explain(&self, judgement: &Judgement, simulated: &Simulated) -> String {
        let mut text = format!(
            "{} rate {} {} {} snapshots seed {}: {:?}; guilty {:?}\n",
            self.kind.name,
            RATE_NAMES[self.rate],
            MODE_NAMES[self.mode],
            LENGTHS[self.length],
            self.seed,
            judgement.verdict,
            simulated.guilty,
        );
        let _ = writeln!(text, "  traces {}", simulated.traces);
        let guilty = |finding: &&Finding| simulated.is_guilty(finding) || finding.verdict != Verdict::Bounded;
        for finding in judgement.findings.iter().filter(guilty).take(4) {
            let name = finding.stack.frames.first().map_or("?", |frame| &frame.function.name);
            let _ = writeln!(text, "  {:?} {:.3} {name} live {:?}", finding.verdict, finding.probability, finding.live);
            let series = series(&simulated.snapshots);
            let site = series.sites.iter().find(|site| site.key == finding.key).unwrap();
            let moments = series.moments.len();
            let live: Vec<String> =
                (0..moments).step_by(moments.div_ceil(40)).map(|m| site.at(m).live().blocks.to_string()).collect();
            let _ = writeln!(text, "    {}", live.join(" "));
            for evidence in &finding.evidence {
                let _ = writeln!(text, "    {:+.1} {}: {}", evidence.log_odds, evidence.rule, evidence.text);
            }
        }
        text
    }
}

/// What happens to files and machines: snapshots are missing, here and there or many in a row, and the wall clock is set.
fn disturb(snapshots: &mut Vec<Snapshot>, random: &mut Random) {
    let n = snapshots.len();
    if n >= 20 && random.chance(0.2) {
        snapshots.retain(|one| one.sequence == 0 || one.sequence + 1 == n as u64 || !random.chance(0.15));
    } else if n >= 20 && random.chance(0.1) {
        let from = random.below(n / 2) as u64;
        let to = from + n as u64 / 6;
        snapshots.retain(|one| !(from + 1..to).contains(&one.sequence));
    }
    if random.chance(0.2) {
        let from = random.below(n) as u64;
        for snapshot in snapshots.iter_mut().filter(|one| one.sequence >= from) {
            snapshot.taken_unix_ms -= 3_600_000;
        }
    }
}

impl Simulated {
    fn is_guilty(&self, finding: &Finding) -> bool {
        finding.stack.frames.iter().any(|frame| self.guilty.contains(&frame.function.name))
    }
}

impl Outcome {
    pub fn of(judgement: &Judgement, simulated: &Simulated) -> Self {
        let of_guilty = || judgement.findings.iter().filter(|finding| simulated.is_guilty(finding));
        let mut leaking = of_guilty().filter(|finding| finding.verdict == Verdict::Leaking).peekable();
        let found = leaking.peek().is_some();
        let explained = leaking.any(|finding| simulated.causes.contains(&finding.cause));
        let open = of_guilty().any(|finding| finding.verdict == Verdict::Inconclusive);
        // With no finding for it the site is bounded, unless the whole series says too little.
        let said_bounded = judgement.verdict == Verdict::Bounded
            || !open && (of_guilty().count() > 0 || judgement.verdict == Verdict::Leaking);
        let accused = judgement
            .findings
            .iter()
            .any(|finding| finding.verdict == Verdict::Leaking && !simulated.is_guilty(finding));
        let shown = judgement.findings.iter().filter(|finding| finding.verdict != Verdict::Bounded);
        Self {
            found,
            explained,
            missed_bounded: !simulated.guilty.is_empty() && !found && said_bounded,
            open: judgement.verdict == Verdict::Inconclusive,
            accused,
            unseen: false,
            probabilities: shown.map(|finding| (finding.probability, simulated.is_guilty(finding))).collect(),
        }
    }
}

/// How often each outcome came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Cases that count.
    pub cases: usize,
    /// Leaks that left too few traces.
    pub unseen: usize,
    pub found: usize,
    pub explained: usize,
    pub missed_bounded: usize,
    pub open: usize,
    pub accused: usize,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) {
        self.cases += usize::from(!outcome.unseen);
        self.unseen += usize::from(outcome.unseen);
        self.found += usize::from(outcome.found);
        self.explained += usize::from(outcome.explained);
        self.missed_bounded += usize::from(outcome.missed_bounded);
        self.open += usize::from(outcome.open);
        self.accused += usize::from(outcome.accused);
    }

    fn merge(&mut self, other: Self) {
        self.cases += other.cases;
        self.unseen += other.unseen;
        self.found += other.found;
        self.explained += other.explained;
        self.missed_bounded += other.missed_bounded;
        self.open += other.open;
        self.accused += other.accused;
    }

    pub fn found_share(&self) -> f64 {
        self.found as f64 / self.cases.max(1) as f64
    }
}

pub const RATE_NAMES: [&str; 3] = ["1", "1/20", "1/200"];
pub const MODE_NAMES: [&str; 2] = ["exact", "sampled"];

/// Tallies by kind, rate, mode and length.
#[derive(Default)]
pub struct Table {
    cells: BTreeMap<(&'static str, usize, usize, usize), Tally>,
    /// The probability of each finding that was not bounded, with the truth.
    pub probabilities: Vec<(f64, bool)>,
}

/// Does something for each of `items`, on two threads.
pub fn in_parallel<T: Sync>(items: &[T], each: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            // Each takes the next one that nobody has.
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(item);
                }
            });
        }
    });
}

impl Table {
    /// Runs every kind at every rate in the given modes and lengths with `seeds` seeds.
    pub fn of(kinds: &[&'static Kind], modes: &[usize], lengths: &[usize], seeds: u64) -> Self {
        let mut cases = Vec::new();
        for &kind in kinds {
            for &mode in modes {
                for &length in lengths {
                    for rate in 0..RATES.len() {
                        cases.extend((0..seeds).map(|seed| Case { kind, rate, mode, length, seed }));
                    }
                }
            }
        }
        let table = Mutex::new(Self::default());
        in_parallel(&cases, |case| {
            let outcome = case.outcome();
            let mut table = table.lock().unwrap();
            table.cells.entry((case.kind.name, case.rate, case.mode, case.length)).or_default().add(&outcome);
            table.probabilities.extend(outcome.probabilities);
        });
        table.into_inner().unwrap()
    }

    /// The sum of the cells that are wanted: by kind, rate, mode, length.
    pub fn sum(&self, wanted: impl Fn(&str, usize, usize, usize) -> bool) -> Tally {
        let mut sum = Tally::default();
        for ((kind, rate, mode, length), tally) in &self.cells {
            if wanted(kind, *rate, *mode, *length) {
                sum.merge(*tally);
            }
        }
        sum
    }

    /// Totals by mode and rate (rows) and length (columns).
    pub fn print_totals(&self, leaking: bool) -> String {
        let mut text = String::from("| snapshots |");
        for length in LENGTHS {
            let _ = write!(text, " {length} |");
        }
        text.push_str("\n|---|---|---|---|---|---|\n");
        for (mode, mode_name) in MODE_NAMES.iter().enumerate() {
            for (rate, rate_name) in RATE_NAMES.iter().enumerate() {
                let _ = write!(text, "| {mode_name}, {rate_name} |");
                for length in 0..LENGTHS.len() {
                    let cell = self.sum(|_, r, m, l| (r, m, l) == (rate, mode, length));
                    let _ = write!(text, " {} |", cell.total(leaking));
                }
                text.push('\n');
            }
        }
        text
    }

    /// Rows are kinds; columns are modes, then rates, then lengths. For a leaking kind a cell is the percentage found;
    /// `!n` says that n of the cases were called bounded, `+n` that an innocent site was accused in n. For a clean kind
    /// it is the number of false alarms; `-` where no case left enough traces.
    pub fn print(&self, kinds: &[&'static Kind], modes: &[usize], lengths: &[usize]) -> String {
        let mut text = String::new();
        for &mode in modes {
            let _ = write!(text, "\n{:<26}", MODE_NAMES[mode]);
            for rate in RATE_NAMES {
                for &length in lengths {
                    let _ = write!(text, "{:>11}", format!("{rate}·{}", LENGTHS[length]));
                }
            }
            text.push('\n');
            for kind in kinds {
                let _ = write!(text, "{:<26}", kind.name);
                for rate in 0..RATES.len() {
                    for &length in lengths {
                        let cell = self.sum(|k, r, m, l| k == kind.name && (r, m, l) == (rate, mode, length));
                        let _ = write!(text, "{:>11}", cell.text(kind.leaking));
                    }
                }
                text.push('\n');
            }
        }
        text
    }

    /// The cells with wrong answers. Of kinds held out, only how many.
    pub fn wrong(&self) -> String {
        let mut text = String::new();
        let mut held_out = 0;
        for ((kind, rate, mode, length), tally) in &self.cells {
            let wrong = tally.accused + tally.missed_bounded;
            if shapes::named(kind).set == Set::HeldOut {
                held_out += wrong;
            } else if wrong > 0 {
                let _ = writeln!(
                    text,
                    "{kind} rate {} {} {} snapshots: {} cases, {} accuse a clean site, {} call the leak bounded",
                    RATE_NAMES[*rate],
                    MODE_NAMES[*mode],
                    LENGTHS[*length],
                    tally.cases,
                    tally.accused,
                    tally.missed_bounded
                );
            }
        }
        let _ = writeln!(text, "{held_out} held out");
        text
    }
}

impl Tally {
    /// Of leaks: found in per cent, the same with its cause right, and in brackets called bounded. Of clean ones: cases
    /// bounded in per cent, and in brackets false alarms.
    fn total(&self, leaking: bool) -> String {
        if self.cases == 0 {
            return "-".into();
        }
        if leaking {
            let cause = 100.0 * self.explained as f64 / self.found.max(1) as f64;
            return format!("{:.0} / {cause:.0} ({})", 100.0 * self.found_share(), self.missed_bounded);
        }
        let bounded = self.cases - self.open - self.accused;
        format!("{:.0} ({})", 100.0 * bounded as f64 / self.cases as f64, self.accused)
    }

    fn text(&self, leaking: bool) -> String {
        if self.cases == 0 {
            return "-".into();
        }
        if !leaking {
            return match (self.accused, self.open) {
                (0, 0) => "·".into(),
                (0, open) => format!("?{open}"),
                (accused, _) => format!("{accused}/{}", self.cases),
            };
        }
        let mut text = format!("{:.0}", 100.0 * self.found_share());
        if self.missed_bounded > 0 {
            let _ = write!(text, "!{}", self.missed_bounded);
        }
        if self.accused > 0 {
            let _ = write!(text, "+{}", self.accused);
        }
        text
    }
}
