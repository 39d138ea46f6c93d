//! A program with 10,000 mappings: what reading them takes, what it notices, and what the watcher takes.

use super::compared::{Case, Work, compare, spread};
use super::watcher::Watcher;
use super::{Bench, PATIENCE};
use crate::runner::process;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

const EVERY_SECOND: [&str; 2] = ["--every", "1s"];
/// How often each file is read.
const READS: usize = 25;

pub(super) fn run(bench: &Bench<'_>) -> Result<(), String> {
    reads(bench)?;
    let cases = [Case::plain("10,000 mappings"), Case::plain("10,000 mappings, watched").watched(&EVERY_SECOND, 0)];
    let arguments = ["steady", "warmups=3", if bench.options.quick { "regions=10" } else { "regions=20" }];
    let work = Work { title: "steady, per turn", arguments: &arguments, warm_up: Duration::from_secs(3) };
    compare(bench, &work, &cases)?;
    long(bench)
}

/// What reading takes once.
fn reads(bench: &Bench<'_>) -> Result<(), String> {
    const FILES: [&str; 4] = ["smaps_rollup", "maps", "status", "stat"];
    let mut took_us = FILES.map(|_| Vec::new());
    let mut lines = 0;
    let mut command = Command::new(bench.child("child-system"));
    command.args(["plain", "steady", "warmups=0", "regions=5"]).env_remove("LEAKCHECK");
    process::output_beside(&mut command, PATIENCE, |pid, elapsed| {
        if elapsed < Duration::from_secs(1) || took_us[0].len() >= READS {
            return Ok(());
        }
        for (file, took_us) in FILES.iter().zip(&mut took_us) {
            let began = Instant::now();
            let text =
                fs::read(format!("/proc/{pid}/{file}")).map_err(|why| format!("failed to read {file}: {why}"))?;
            took_us.push(began.elapsed().as_secs_f64() * 1e6);
            if *file == "maps" {
                lines = text.iter().filter(|byte| **byte == b'\n').count();
            }
        }
        Ok(())
    })?;
    println!("\nreading files of a program with {lines} mappings, µs:");
    for (file, took_us) in FILES.iter().zip(&took_us) {
        println!("  {file}: {}", spread(took_us, 0));
    }
    Ok(())
}

/// The watcher over a longer time: what it takes in each part of it.
fn long(bench: &Bench<'_>) -> Result<(), String> {
    let minutes: u64 = match (bench.options.smoke, bench.options.quick) {
        (true, _) => return Ok(()),
        (false, true) => 1,
        (false, false) => 2,
    };
    let (step, steps) = (Duration::from_secs(20), minutes * 3);
    let regions = format!("regions={}", steps * step.as_secs() + 2);
    let mut command = Command::new(bench.child("child-system"));
    command.args(["plain", "steady", "warmups=0", &regions]).env_remove("LEAKCHECK");
    let mut watcher = None;
    let mut next = step;
    println!("\nwatching 10,000 mappings for {minutes} minutes, % of a core in each {} s:", step.as_secs());
    process::output_beside(&mut command, PATIENCE, |pid, elapsed| {
        let Some(watcher) = &mut watcher else {
            watcher = Some(Watcher::start(&bench.leakcheck, pid, &EVERY_SECOND)?);
            return Ok(());
        };
        watcher.look()?;
        if elapsed >= next {
            next += step;
            let percent = watcher.part_of_core().unwrap_or(0.0) * 100.0;
            println!("  {:4} s: {percent:.3}, {} files", elapsed.as_secs(), watcher.files().0);
            watcher.forget_looks();
        }
        Ok(())
    })?;
    Ok(())
}
