//! Results as text, as Markdown and as JSON.

use super::build::Folder;
use super::rounds::{Cell, RowResult};
use serde_json::{Value, json};
use std::fmt::Write;

const HEADER: [&str; 7] = ["variant", "ns", "ratio", "from–to", "added ns", "peak MiB", "besides"];

/// One row's table, for a terminal.
pub(crate) fn text(result: &RowResult) -> String {
    let mut out = format!("\n{}\n", title(result));
    let header = std::iter::once(HEADER.map(str::to_owned));
    for line in header.chain(result.cells.iter().map(|cell| columns(result, cell))) {
        let [variant, own, ratio, spread, added, peak, besides] = line;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {variant:38} {own:>9} {ratio:>7} {spread:>15} {added:>9} {peak:>9}   {besides}");
    }
    out
}

/// To be pasted into a document: the ratios of all, then each row's table.
pub(crate) fn markdown(results: &[RowResult]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for cell in results.iter().flat_map(|result| &result.cells) {
        if !names.contains(&&*cell.variant.name) {
            names.push(&cell.variant.name);
        }
    }
    let timed = || results.iter().filter(|result| !result.row.operation.is_empty());
    let labels: Vec<&str> = timed().map(|result| result.row.label.as_str()).collect();
    let mut out = markdown_line("ratio to the baseline", labels.iter().copied());
    out.push_str(&markdown_line("---", labels.iter().map(|_| "---")));
    for name in names {
        let ratio = |result: &RowResult| {
            let cell = result.cells.iter().find(|cell| cell.variant.name == name);
            cell.map(|cell| columns(result, cell)[2].clone()).unwrap_or_default()
        };
        out.push_str(&markdown_line(name, timed().map(ratio)));
    }
    for result in results {
        let _ = writeln!(out, "\n{}\n", title(result));
        let [first, rest @ ..] = HEADER;
        out.push_str(&markdown_line(first, rest));
        out.push_str(&markdown_line("---", rest.map(|_| "---")));
        for cell in &result.cells {
            let [name, rest @ ..] = columns(result, cell);
            out.push_str(&markdown_line(&name, rest));
        }
    }
    out
}

fn markdown_line(first: &str, rest: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut line = format!("| {first} |");
    for column in rest {
        let _ = write!(line, " {} |", column.as_ref());
    }
    line.push('\n');
    line
}

/// Everything, for other programs.
pub(crate) fn json(results: &[RowResult]) -> String {
    let cell = |cell: &Cell| {
        json!({
            "variant": cell.variant.name,
            "baseline": cell.variant.baseline,
            "rounds_ns": cell.pairs,
            "ratio": cell.ratio().map(|(median, _, _)| median),
            "added_ns": cell.added_ns(),
            "peak_bytes": cell.peak_bytes(),
            "facts": cell.facts(),
        })
    };
    let row = |result: &RowResult| {
        json!({
            "workload": result.row.workload,
            "label": result.row.label,
            "operation": result.row.operation,
            "variants": result.cells.iter().map(cell).collect::<Vec<_>>(),
            "failures": result.failures,
        })
    };
    let mut text = Value::from(results.iter().map(row).collect::<Vec<_>>()).to_string();
    text.push('\n');
    text
}

fn title(result: &RowResult) -> String {
    match result.row.operation {
        "" => result.row.label.clone(),
        operation => format!("{}, per {operation}", result.row.label),
    }
}

fn columns(result: &RowResult, cell: &Cell) -> [String; 7] {
    let name = cell.variant.name.to_string();
    let nothing = String::new;
    let Some((ratio, least, greatest)) = cell.ratio() else {
        return [name, nothing(), "failed".into(), nothing(), nothing(), nothing(), nothing()];
    };
    let peak = format!("{:.1}", cell.peak_bytes() / f64::from(1 << 20));
    let besides = besides(result, cell);
    if result.row.operation.is_empty() {
        return [name, nothing(), nothing(), nothing(), nothing(), peak, besides];
    }
    [
        name,
        nanoseconds(cell.own_ns()),
        ratio_text(ratio),
        format!("{}–{}", ratio_text(least), ratio_text(greatest)),
        nanoseconds(cell.added_ns()),
        peak,
        besides,
    ]
}

/// What the children had to say, and of live blocks what is added to the baseline's.
fn besides(result: &RowResult, cell: &Cell) -> String {
    const PER_ENTRY: &str = "resident_bytes_per_entry";
    let mut facts: Vec<String> = cell.facts().iter().map(|(name, value)| fact(name, *value)).collect();
    let baseline = result.cells.iter().find(|one| one.variant.name == cell.variant.baseline);
    let per_entry = |cell: &Cell| cell.facts().get(PER_ENTRY).copied();
    if let (Some(own), Some(baseline)) = (per_entry(cell), baseline.and_then(per_entry)) {
        facts.insert(0, format!("{:+.1} bytes an entry", own - baseline));
    }
    let other = result.cells.iter().find(|one| one.variant.folder == Folder::OtherCommit);
    if let Some((other, (ratio, least, greatest))) = other.and_then(|other| Some((other, cell.ratio_to(other)?)))
        && other.variant.name != cell.variant.name
        && cell.variant.name != cell.variant.baseline
    {
        let [ratio, least, greatest] = [ratio, least, greatest].map(|ratio| format!("{ratio:.3}"));
        facts.insert(0, format!("{ratio} of {} ({least}–{greatest})", other.variant.name));
    }
    facts.join(", ")
}

fn ratio_text(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

fn nanoseconds(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn fact(name: &str, value: f64) -> String {
    let words = name.replace('_', " ");
    if value.fract() == 0.0 { format!("{words} {value}") } else { format!("{words} {value:.1}") }
}
