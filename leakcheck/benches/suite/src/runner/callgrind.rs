//! Counting instructions with valgrind's callgrind, which no other load disturbs.
//!
//! A child runs twice, with one region and with three; the difference is what two regions take.

use super::build::Binaries;
use super::process;
use super::rows::Row;
use super::variants::{Launch, Variant};
use std::fs;
use std::process::Command;

const VALGRIND: &str = "/usr/bin/valgrind";
/// The part of a workload's operations that is done.
const SCALE: &str = "scale=0.05";

/// Counts all variants of all rows and prints a line each.
pub(crate) fn run(binaries: &Binaries, rows: &[Row], variants: &[Variant]) -> Result<(), String> {
    println!("{:36} {:22} {:>14} {:>12}", "workload", "variant", "instructions", "added");
    for row in rows.iter().filter(|row| !row.operation.is_empty()) {
        let mut baseline = None;
        let can = |variant: &&Variant| row.has(variant) && matches!(variant.launch, Launch::Alone(_));
        for variant in variants.iter().filter(can) {
            let counted = per_operation(binaries, row, variant)?;
            let added = baseline.map_or(0.0, |baseline| counted - baseline);
            baseline = baseline.or(Some(counted));
            println!("{:36} {:22} {counted:14.1} {added:12.1}", row.label, variant.name);
        }
    }
    Ok(())
}

/// Instructions an operation.
fn per_operation(binaries: &Binaries, row: &Row, variant: &Variant) -> Result<f64, String> {
    let (one, operations) = count(binaries, row, variant, 1)?;
    let (three, _) = count(binaries, row, variant, 3)?;
    Ok((three - one) / 2.0 / operations)
}

/// Instructions of a whole run, and the operations of one region of it.
fn count(binaries: &Binaries, row: &Row, variant: &Variant, regions: u32) -> Result<(f64, f64), String> {
    let file = binaries.target.join(format!("callgrind-{}", std::process::id()));
    let mut command = Command::new(VALGRIND);
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display()));
    command.arg(binaries.path(&variant.folder, variant.binary)).args([variant.mode, row.workload, SCALE]);
    command.args(&row.parameters).arg(format!("regions={regions}"));
    let printed = process::output_of(&mut command)?;
    let text = fs::read_to_string(&file).map_err(|why| format!("failed to read {}: {why}", file.display()))?;
    // It is in the build's folder, and the next one has the same name.
    let _ = fs::remove_file(&file);
    let totals = text.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    let instructions = totals.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    let region = printed.lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let operations = region.and_then(|region| region["operations"].as_f64());
    instructions.zip(operations).ok_or_else(|| "callgrind has counted nothing".into())
}
