//! `leakcheck diff`: what grew between two snapshots.

use super::{PageForm, Stdout};
use crate::cli::DiffArgs;
use crate::error::Error;
use crate::exit::Exit;
use crate::input::load_snapshot;
use crate::render::{self, DiffReport, SnapshotFacts};

pub(super) fn diff(args: &DiffArgs, stdout: &Stdout) -> Result<Exit, Error> {
    let form = stdout.page_form("diff")?;
    let baseline = load_snapshot(&args.baseline)?;
    let current = load_snapshot(&args.current)?;
    let report = DiffReport {
        diff: leakcheck::analysis::diff(&baseline, &current),
        baseline: SnapshotFacts::of(args.baseline.clone(), &baseline),
        current: SnapshotFacts::of(args.current.clone(), &current),
        top: args.top,
    };
    stdout.print(&match form {
        PageForm::Text => render::text::diff(&report, stdout.look),
        PageForm::Json => render::json::diff(&report),
        PageForm::Markdown => render::markdown::diff(&report),
    })?;
    Ok(Exit::SUCCESS)
}
