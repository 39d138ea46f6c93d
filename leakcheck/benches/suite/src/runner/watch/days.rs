//! Days in minutes: a watcher that samples a hundred times a second, and its memory over time.

use super::watcher::Watcher;
use super::{Bench, PATIENCE};
use crate::runner::process;
use crate::runner::statistics::{median, range};
use std::process::Command;
use std::time::Duration;

const OFTEN: [&str; 4] = ["--every", "10ms", "--format", "json"];
const OFTEN_EXACT: [&str; 6] = ["--every", "10ms", "--format", "json", "--mode", "exact"];
/// Samples after which memory should be flat.
const SAMPLES_AT_FIRST: u64 = 2000;

pub(super) fn run(bench: &Bench<'_>) -> Result<(), String> {
    follow(bench, "kernel figures", ["child-system", "plain"], &OFTEN)?;
    follow(bench, "recorder woken, exact", ["child-leakcheck", "dormant"], &OFTEN_EXACT)
}

fn follow(bench: &Bench<'_>, title: &str, [child, mode]: [&str; 2], options: &[&str]) -> Result<(), String> {
    let seconds: u64 = match (bench.options.smoke, bench.options.quick) {
        (true, _) => 3,
        (false, true) => 120,
        (false, false) => 300,
    };
    let regions = format!("regions={seconds}");
    let mut command = Command::new(bench.child(child));
    command.args([mode, "steady", "mappings=10", "warmups=0", "turns=250", "pace_us=4000", &regions]);
    command.env_remove("LEAKCHECK");
    let mut watcher = None;
    let (mut at_first, mut later) = (Vec::new(), Vec::new());
    let mut next = Duration::from_secs(1);
    println!("\nthe watcher's memory, {title}, for {seconds} s:");
    process::output_beside(&mut command, PATIENCE, |pid, elapsed| {
        let Some(watcher) = &mut watcher else {
            watcher = Some(Watcher::start(&bench.leakcheck, pid, options)?);
            return Ok(());
        };
        watcher.look()?;
        if elapsed < next {
            return Ok(());
        }
        next += Duration::from_secs(1);
        let (samples, rss_mib) = (watcher.lines(), watcher.rss_bytes() as f64 / f64::from(1 << 20));
        match samples {
            ..SAMPLES_AT_FIRST => at_first.push(rss_mib),
            _ => later.push((samples, rss_mib)),
        }
        if elapsed.as_secs().is_multiple_of(20) {
            println!("  {samples:6} samples: {rss_mib:.2} MiB, {} files", watcher.files().0);
        }
        Ok(())
    })?;
    let quarter = |number: usize| {
        let len = later.len();
        let part = later.get(len * number / 4..len * (number + 1) / 4).unwrap_or_default();
        let mib: Vec<f64> = part.iter().map(|(_, mib)| *mib).collect();
        let (least, greatest) = range(&mib);
        format!("{:.2} ({least:.2}–{greatest:.2})", median(&mib))
    };
    let (samples, _) = later.last().copied().unwrap_or_default();
    println!("  up to {SAMPLES_AT_FIRST} samples {:.2} MiB at most", range(&at_first).1);
    println!("  from there to {samples}, by quarters: {}", (0..4).map(quarter).collect::<Vec<_>>().join(", "));
    Ok(())
}
