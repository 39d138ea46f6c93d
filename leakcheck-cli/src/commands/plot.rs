//! `leakcheck plot`: the heap over time as a picture.

use super::picture_file::PictureFile;
use super::{Judging, PageForm, Stdout, quoted, tell};
use crate::cli::PlotArgs;
use crate::error::Error;
use crate::exit::Exit;
use crate::input::load_series;
use crate::render::chart::ChartOptions;
use crate::render::json::PlotDocument;
use crate::render::{self, CheckReport, headline_of_check};

pub(super) fn plot(args: &PlotArgs, stdout: &Stdout) -> Result<Exit, Error> {
    let form = stdout.page_form("plot")?;
    let file = PictureFile::probe(&args.output, args.force)?;
    let loaded = load_series(&args.series)?;
    tell(&loaded.notes);
    let judged = Judging::plain().judge(loaded.series)?;
    let report = CheckReport::of(judged, 0, quoted(&args.series));
    file.write(&report, ChartOptions { size: args.size, top: usize::from(args.top) })?;
    let snapshots = report.processes.iter().map(|judged| judged.series.moments.len()).sum();
    let (output, headline) = (args.output.display(), headline_of_check(&report));
    stdout.print(&match form {
        PageForm::Text => format!("{headline}\n\nheap over time: {output}\n"),
        PageForm::Markdown => format!("![{}](<{output}>)\n", headline.replace(['[', ']'], "")),
        PageForm::Json => render::json::plot(&PlotDocument {
            output: output.to_string(),
            width: args.size.0,
            height: args.size.1,
            verdict: report.verdict(),
            snapshots,
        }),
    })?;
    Ok(Exit::SUCCESS)
}
