//! `leakcheck check`: the verdict over series.

use super::{Judging, Stdout, quoted, tell, tell_of_missing_lines};
use crate::cli::{CheckArgs, OutputFormat};
use crate::error::Error;
use crate::exit::Exit;
use crate::input::load_series;
use crate::render::{self, CheckReport};
use std::path::PathBuf;

pub(super) fn check(args: &CheckArgs, stdout: &Stdout) -> Result<Exit, Error> {
    let judging = Judging::prepare(&args.judge)?.with_self_test(args.self_test);
    let loaded = load_series(&args.series)?;
    tell(&loaded.notes);
    let judged = judging.judge(loaded.series)?;
    judging.tell_of_idle_suppressions(&judged.processes);
    let report = CheckReport {
        inconclusive_fails: args.judge.inconclusive_fails(),
        ..CheckReport::of(judged, args.judge.top, quoted(&args.series))
    };
    tell_of_missing_lines(&report.processes);
    print(&report, stdout)?;
    Ok(Exit::of_verdict(report.verdict(), report.inconclusive_fails || !report.passes_self_test()))
}

/// Writes the report in the form asked for.
pub(super) fn print(report: &CheckReport, stdout: &Stdout) -> Result<(), Error> {
    stdout.print(&match stdout.format {
        OutputFormat::Text => render::text::check(report, stdout.look),
        OutputFormat::Json => render::json::check(report),
        OutputFormat::Markdown => render::markdown::check(report),
        OutputFormat::Junit => render::junit::check(report),
        OutputFormat::Sarif => render::sarif::check(report, &here()),
        OutputFormat::Github => render::github::check(report, &here()),
    })
}

/// The current folder: what lies below it is named relative to it. Without one, nothing is.
fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}
