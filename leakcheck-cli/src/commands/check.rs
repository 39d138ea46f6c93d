//! `leakcheck check`: the verdict over series.

use super::{Stdout, judge_all, quoted, tell, tell_of_missing_lines};
use crate::cli::{CheckArgs, OutputFormat};
use crate::error::Error;
use crate::exit::Exit;
use crate::input::load_series;
use crate::render::{self, CheckReport};

pub(super) fn check(args: &CheckArgs, stdout: &Stdout) -> Result<Exit, Error> {
    let loaded = load_series(&args.series)?;
    tell(&loaded.notes);
    let report = CheckReport {
        processes: judge_all(loaded.series, &args.judge),
        top: args.judge.top,
        named: quoted(&args.series),
        run: None,
    };
    tell_of_missing_lines(&report.processes);
    print(&report, stdout)?;
    Ok(Exit::of_verdict(report.verdict(), args.judge.strict))
}

/// Writes the report in the form asked for.
pub(super) fn print(report: &CheckReport, stdout: &Stdout) -> Result<(), Error> {
    stdout.print(&match stdout.format {
        OutputFormat::Text => render::text::check(report, stdout.look),
        OutputFormat::Json => render::json::check(report),
        OutputFormat::Markdown => render::markdown::check(report),
    })
}
