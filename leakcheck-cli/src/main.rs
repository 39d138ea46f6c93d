//! The `leakcheck` command: records, judges, compares and draws heap snapshots.
//!
//! Standard output holds the result, standard error the conversation. Errors are printed here, once, as one chain.

mod cli;
mod commands;
mod error;
mod exit;
mod input;
mod render;
mod units;

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let exit = commands::execute(&cli.command, cli.output).unwrap_or_else(|error| {
        // Nobody can be told when standard error is closed.
        let _ = writeln!(std::io::stderr(), "leakcheck: failed to {}", error.chain());
        exit::Exit::ERROR
    });
    exit.into()
}
