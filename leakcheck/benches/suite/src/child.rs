//! One process that runs one workload under one allocator and prints what it took, as lines of JSON.
//!
//! The arguments are the recorder's mode, the workload, and `name=value` parameters. Recording begins before the
//! workload is prepared. Then come `warmups` regions that are not measured and `regions` that are, or as many more as
//! `seconds` take; memory is read after the last one and before the recording ends. With `check=yes` the recorder's
//! counts are compared with what the workload knows it has done.

use crate::parameters::Parameters;
use crate::workload::{self, Account, Workload};
use crate::{clock, resident};
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Regions measured at most.
const REGIONS_MAX: usize = 1000;

/// What a recorder has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Blocks allocated since the recording began.
    pub allocated_blocks: u64,
    /// Bytes allocated since the recording began.
    pub allocated_bytes: u64,
    /// Blocks freed since the recording began.
    pub freed_blocks: u64,
    /// Bytes freed since the recording began.
    pub freed_bytes: u64,
}

/// What a recording says of itself at its end: names and numbers.
pub type Facts = Vec<(String, f64)>;

/// A recording in progress, of whatever recorder the process has. The methods' defaults are those of no recorder.
pub trait Recording {
    /// What is counted so far, if it is counted exactly.
    fn totals(&self) -> Option<Totals> {
        None
    }

    /// What takes and writes a snapshot on any thread, and says whether it could; `None` when the recorder has no such
    /// thing.
    fn take_snapshot(&self) -> Option<fn() -> bool> {
        None
    }

    /// Ends the recording.
    fn finish(self: Box<Self>) -> Facts {
        Vec::new()
    }
}

/// No recorder.
#[derive(Debug)]
pub struct Unrecorded;

impl Recording for Unrecorded {}

/// Begins to record in the mode named on the command line.
pub type Begin = fn(mode: &str) -> Result<Box<dyn Recording>, String>;

/// The whole program but for its allocator.
#[must_use]
pub fn main(begin: Begin) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments, begin) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}: {why}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String], begin: Begin) -> Result<(), String> {
    let [mode, name, rest @ ..] = arguments else { return Err("expected MODE WORKLOAD [name=value]...".into()) };
    let parameters = Parameters::parse(rest)?;
    let checked = parameters.text("check", "no") == "yes";
    let regions = parameters.number("regions", 5)?;
    let recording = begin(mode)?;
    let mut workload = workload::prepare(name, &parameters)?;
    for _ in 0..parameters.number("warmups", 1)? {
        workload.region()?;
    }
    let enough = Duration::from_secs(parameters.number("seconds", 0)?);
    // Before the counts are taken: it is no part of the workload.
    let mut lines = Vec::with_capacity(REGIONS_MAX);
    // The first waits for the recorder's threads, whose start takes blocks.
    let counted = if checked { recording.totals().and_then(|_| recording.totals()) } else { None };
    let account = workload.account();
    let began = Instant::now();
    while lines.len() < REGIONS_MAX && (lines.len() < regions as usize || began.elapsed() < enough) {
        lines.push(measure(&mut *workload)?);
    }
    if let (Some(before), Some(after)) = (counted, if checked { recording.totals() } else { None }) {
        compare(before, after, workload.account().since(&account))?;
    }
    let memory = (resident::now_bytes(), resident::peak_bytes());
    let mut facts = workload.finish(&*recording)?;
    facts.extend(recording.finish());
    print(&lines, memory, facts);
    Ok(())
}

/// What one region took.
struct Region {
    thread_ns: u64,
    process_ns: u64,
    wall_ns: u64,
    operations: u64,
}

fn measure(workload: &mut dyn Workload) -> Result<Region, String> {
    let (wall, process, thread) = (Instant::now(), clock::process_cpu_ns(), clock::thread_cpu_ns());
    let operations = workload.region()?;
    Ok(Region {
        thread_ns: clock::thread_cpu_ns() - thread,
        process_ns: clock::process_cpu_ns() - process,
        wall_ns: wall.elapsed().as_nanos() as u64,
        operations,
    })
}

/// The recorder's counts against the workload's own.
fn compare(before: Totals, after: Totals, account: Account) -> Result<(), String> {
    let allocated_blocks = after.allocated_blocks - before.allocated_blocks;
    let allocated_bytes = after.allocated_bytes - before.allocated_bytes;
    let freed_blocks = after.freed_blocks - before.freed_blocks;
    let freed_bytes = after.freed_bytes - before.freed_bytes;
    let lines = [
        ("allocated blocks", account.allocated_blocks, allocated_blocks, account.slack_blocks),
        ("allocated bytes", account.allocated_bytes, allocated_bytes, account.slack_bytes),
        ("freed blocks", account.freed_blocks, freed_blocks, account.slack_blocks),
        ("freed bytes", account.freed_bytes, freed_bytes, account.slack_bytes),
    ];
    for (what, expected, found, slack) in lines {
        if let Some(expected) = expected
            && !(expected..=expected + slack).contains(&found)
        {
            return Err(format!("recorder counted {found} {what}, expected {expected} (to {slack} more)"));
        }
    }
    if account.balanced && allocated_blocks.abs_diff(freed_blocks) > account.slack_blocks {
        return Err(format!(
            "recorder counted {allocated_blocks} blocks allocated and {freed_blocks} freed of a workload that frees all"
        ));
    }
    Ok(())
}

fn print(lines: &[Region], (resident_bytes, peak_bytes): (u64, u64), facts: Facts) {
    for region in lines {
        println!(
            "{}",
            json!({
                "thread_ns": region.thread_ns,
                "process_ns": region.process_ns,
                "wall_ns": region.wall_ns,
                "operations": region.operations,
            })
        );
    }
    let facts: serde_json::Map<_, _> = facts.into_iter().map(|(name, value)| (name, json!(value))).collect();
    println!("{}", json!({ "resident_bytes": resident_bytes, "peak_bytes": peak_bytes, "facts": facts }));
}
