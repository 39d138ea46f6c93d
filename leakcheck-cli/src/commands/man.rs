//! `leakcheck man`: manual pages.

use super::Stdout;
use crate::cli::{Cli, ManArgs};
use crate::error::Error;
use crate::exit::Exit;
use clap::CommandFactory;
use std::fs;

pub(super) fn man(args: &ManArgs, stdout: &Stdout) -> Result<Exit, Error> {
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        rendered.map_err(|e| Error::because("write the manual page", e))?;
        stdout.print_bytes(&page)?;
        return Ok(Exit::SUCCESS);
    };
    let failed = |e| Error::because(format!("write manual pages to {}", folder.display()), e);
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
    Ok(Exit::SUCCESS)
}
