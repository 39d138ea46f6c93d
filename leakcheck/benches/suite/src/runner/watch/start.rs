//! What it takes to start a program that could be watched: its control socket, and its recorder.

use super::Bench;
use super::compared::spread;
use leakcheck_suite::clock;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Name, child, and whether it may listen.
const CASES: [(&str, &str, bool); 3] = [
    ("without the recorder", "child-system", false),
    ("with the recorder, LEAKCHECK_SOCKET=off", "child-leakcheck", false),
    ("with the recorder and its socket", "child-leakcheck", true),
];

/// What one start took.
struct Start {
    wall_us: f64,
    cpu_us: f64,
    resident_kib: f64,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<(), String> {
    let rounds = match (bench.options.smoke, bench.options.quick) {
        (true, _) => 5,
        (false, true) => 100,
        (false, false) => 500,
    };
    let mut starts = CASES.map(|_| Vec::new());
    for round in 0..rounds {
        for place in (0..CASES.len()).map(|place| (place + round) % CASES.len()) {
            starts[place].push(start(bench, CASES[place])?);
        }
    }
    println!("\nstarting a program that does nothing, {rounds} times: median, and the middle half");
    println!("| | wall µs | CPU µs | resident KiB |\n|---|---|---|---|");
    for ((name, ..), starts) in CASES.iter().zip(&starts) {
        let column = |figure: fn(&Start) -> f64| {
            let mut all: Vec<f64> = starts.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            spread(&all[all.len() / 4..all.len() - all.len() / 4], 0)
        };
        println!("| {name} | {} | {} | {} |", column(|s| s.wall_us), column(|s| s.cpu_us), column(|s| s.resident_kib));
    }
    Ok(())
}

fn start(bench: &Bench<'_>, (_, child, listens): (&str, &str, bool)) -> Result<Start, String> {
    let mut command = Command::new(bench.child(child));
    // A few milliseconds, in which the thread of the socket comes to rest.
    command.args([if child == "child-system" { "plain" } else { "dormant" }, "steady", "mappings=0", "warmups=0"]);
    command.args(["regions=1", "turns=5", "pace_us=1000"]).env_remove("LEAKCHECK").stdin(Stdio::null());
    if !listens {
        command.env("LEAKCHECK_SOCKET", "off");
    }
    let before_ns = clock::children_cpu_ns();
    let began = Instant::now();
    let output = command.output().map_err(|why| format!("failed to start {child}: {why}"))?;
    let wall_us = began.elapsed().as_secs_f64() * 1e6;
    let cpu_us = (clock::children_cpu_ns() - before_ns) as f64 / 1000.0;
    let text = String::from_utf8_lossy(&output.stdout);
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or_default())
        .map_err(|why| format!("failed to read what {child} printed: {why}"))?;
    let resident_kib = last["resident_bytes"].as_f64().unwrap_or(0.0) / 1024.0;
    Ok(Start { wall_us, cpu_us, resident_kib })
}
