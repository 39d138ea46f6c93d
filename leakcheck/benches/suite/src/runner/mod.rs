//! What the runner does: options, building, rounds, tables; and the same for what watching costs.

mod build;
mod callgrind;
mod options;
mod other_commit;
mod outcome;
mod process;
mod rounds;
mod rows;
mod statistics;
mod table;
mod variants;
mod watch;

use build::Binaries;
use options::{Action, Options};
use rounds::RowResult;

/// Does what the arguments ask for.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    if options.action == Action::Help {
        print!("{}", options::HELP);
        return Ok(());
    }
    let binaries = Binaries::find()?;
    if options.action == Action::Watch {
        return watch::run(&options, &binaries);
    }
    let variants = match &options.action {
        Action::Compare(revision) => variants::with_other_commit(&other_commit::build(&binaries, revision)?),
        _ => variants::chosen(&options)?,
    };
    binaries.build(&variants)?;
    let rows = rows::chosen(&options, &build::sources()?)?;
    if options.action == Action::Callgrind {
        return callgrind::run(&binaries, &rows, &variants);
    }
    // One that is stopped has shown what it had.
    let results = rounds::run(&options, &binaries, &rows, &variants, |results| show(&options, results))?;
    if options.markdown {
        print!("{}", table::markdown(&results));
    }
    let failures: usize = results.iter().map(|result| result.failures.len()).sum();
    if options.smoke && failures > 0 {
        return Err(format!("{failures} children failed"));
    }
    Ok(())
}

/// Prints the last of the results, and writes all of them.
fn show(options: &Options, results: &[RowResult]) -> Result<(), String> {
    if !options.markdown {
        print!("{}", results.last().map(table::text).unwrap_or_default());
    }
    let Some(path) = &options.json else { return Ok(()) };
    std::fs::write(path, table::json(results)).map_err(|why| format!("failed to write {}: {why}", path.display()))
}
