//! `leakcheck plot`: the heap over time as a picture.

use super::picture_file::PictureFile;
use super::{Stdout, judge_all, quoted, tell};
use crate::cli::{JudgeArgs, OutputFormat, PlotArgs};
use crate::error::Error;
use crate::exit::Exit;
use crate::input::load_series;
use crate::render::chart::ChartOptions;
use crate::render::json::PlotDocument;
use crate::render::{self, CheckReport, headline_of_check};

pub(super) fn plot(args: &PlotArgs, stdout: &Stdout) -> Result<Exit, Error> {
    let file = PictureFile::open(&args.output, args.force)?;
    let loaded = load_series(&args.series)?;
    tell(&loaded.notes);
    let judge = JudgeArgs { strict: false, min_rate: 0.0, warm_up: None, top: 0 };
    let report =
        CheckReport { processes: judge_all(loaded.series, &judge), top: 0, named: quoted(&args.series), run: None };
    file.write(&report, ChartOptions { size: args.size, top: usize::from(args.top) })?;
    let snapshots = report.processes.iter().map(|judged| judged.series.moments.len()).sum();
    let (output, headline) = (args.output.display(), headline_of_check(&report));
    stdout.print(&match stdout.format {
        OutputFormat::Text => format!("{headline}\n\nheap over time: {output}\n"),
        OutputFormat::Markdown => format!("![{}](<{output}>)\n", headline.replace(['[', ']'], "")),
        OutputFormat::Json => render::json::plot(&PlotDocument {
            output: output.to_string(),
            width: args.size.0,
            height: args.size.1,
            verdict: report.verdict(),
            snapshots,
        }),
    })?;
    Ok(Exit::SUCCESS)
}
