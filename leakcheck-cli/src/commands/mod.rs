//! The verbs, one thin file each: read, judge, render, write.

mod check;
mod completions;
mod diff;
mod man;
mod picture_file;
mod plot;
mod run;
mod stdout;

pub(crate) use stdout::Stdout;

use crate::cli::{Command, JudgeArgs, OutputArgs};
use crate::error::Error;
use crate::exit::Exit;
use crate::render::Judged;
use leakcheck::analysis::{JudgeOptions, judge};
use leakcheck::model::Series;
use std::path::PathBuf;

/// Does what the command line says.
pub(crate) fn execute(command: &Command, output: OutputArgs) -> Result<Exit, Error> {
    let stdout = Stdout::new(output);
    match command {
        Command::Run(args) => run::run(args, &stdout),
        Command::Check(args) => check::check(args, &stdout),
        Command::Diff(args) => diff::diff(args, &stdout),
        Command::Plot(args) => plot::plot(args, &stdout),
        Command::Completions(args) => completions::completions(args, &stdout),
        Command::Man(args) => man::man(args, &stdout),
    }
}

fn judge_all(series: Vec<Series>, args: &JudgeArgs) -> Vec<Judged> {
    let options =
        JudgeOptions { min_rate_bytes_per_second: args.min_rate, warm_up_ms: args.warm_up, ..JudgeOptions::default() };
    series.into_iter().map(|series| Judged { judgement: judge(&series, &options), series, recorded: true }).collect()
}

/// Tells the user something beside the result.
fn tell(notes: &[String]) {
    for note in notes {
        stdout::to_stderr(&format!("leakcheck: note: {note}\n"));
    }
}

/// Paths as they are typed into a shell.
fn quoted(paths: &[PathBuf]) -> String {
    let quote = |path: &PathBuf| {
        let text = path.display().to_string();
        let plain = |c: char| c.is_alphanumeric() || "/._-+,@%=:".contains(c);
        if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
    };
    paths.iter().map(quote).collect::<Vec<_>>().join(" ")
}
