//! What the runner does: options, building, rounds, tables.

mod build;
mod options;
mod outcome;
mod process;
mod rounds;
mod rows;
mod statistics;
mod table;
mod variants;

use build::Binaries;
use options::{Action, Options};

/// Does what the arguments ask for.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    if let Action::Help = options.action {
        print!("{}", options::HELP);
        return Ok(());
    }
    let binaries = Binaries::build(&options)?;
    let variants = variants::chosen(&options, &binaries)?;
    let rows = rows::chosen(&options, &build::sources()?)?;
    let results = rounds::run(&options, &binaries, &rows, &variants)?;
    if let Some(path) = &options.json {
        std::fs::write(path, table::json(&results))
            .map_err(|why| format!("failed to write {}: {why}", path.display()))?;
    }
    print!("{}", if options.markdown { table::markdown(&results) } else { table::text(&results) });
    let wrong: Vec<&String> = results.iter().flat_map(|result| &result.failures).collect();
    if options.smoke && !wrong.is_empty() {
        return Err(format!("{} children failed", wrong.len()));
    }
    Ok(())
}
