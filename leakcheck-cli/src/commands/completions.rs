//! `leakcheck completions`: a script for a shell.

use super::Stdout;
use crate::cli::{Cli, CompletionsArgs};
use crate::error::Error;
use crate::exit::Exit;
use clap::CommandFactory;

pub(super) fn completions(args: &CompletionsArgs, stdout: &Stdout) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "leakcheck", &mut script);
    stdout.print_bytes(&script)?;
    Ok(Exit::SUCCESS)
}
