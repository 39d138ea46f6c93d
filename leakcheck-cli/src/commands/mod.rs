//! The verbs, one thin file each: read, judge, render, write.

mod check;
mod completions;
mod diff;
mod judging;
mod man;
mod picture_file;
mod plot;
mod run;
mod stdout;
mod watch;

use judging::Judging;
pub(crate) use stdout::{PageForm, Stdout};

use crate::cli::{Command, OutputArgs};
use crate::error::Error;
use crate::exit::Exit;
use crate::render::Judged;
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

/// Says how to get source lines when hardly any site has one: without them a leak is hard to place.
fn tell_of_missing_lines(processes: &[Judged]) {
    let titles = || processes.iter().flat_map(|judged| &judged.series.sites).filter_map(|site| site.stack.title());
    let without = titles().filter(|frame| frame.function.line.is_none()).count();
    if without * 2 > titles().count() {
        tell(&[
            "the sites have no source lines; build the program with `debug = \"line-tables-only\"` in its profile \
               in Cargo.toml, and do not strip it"
                .to_owned(),
        ]);
    }
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
