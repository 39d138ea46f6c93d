//! Where results go: standard output, in the form and the colours asked for.

use crate::cli::{Colour, OutputArgs, OutputFormat};
use crate::error::Error;
use crate::render::text::Look;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Standard output, which holds the result and nothing else.
pub(crate) struct Stdout {
    pub(crate) format: OutputFormat,
    pub(crate) look: Look,
}

/// The forms that every result has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageForm {
    Text,
    Json,
    Markdown,
}

impl Stdout {
    pub(crate) fn new(output: OutputArgs) -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let colour = match output.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !plain,
        };
        let columns = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let columns = columns.filter(|columns| terminal && *columns > 0);
        Self { format: output.format, look: Look { columns, colour } }
    }

    /// The form of a result that is no verdict; those for the gates of CI servers are refused.
    pub(crate) fn page_form(&self, verb: &str) -> Result<PageForm, Error> {
        let name = match self.format {
            OutputFormat::Text => return Ok(PageForm::Text),
            OutputFormat::Json => return Ok(PageForm::Json),
            OutputFormat::Markdown => return Ok(PageForm::Markdown),
            OutputFormat::Junit => "junit",
            OutputFormat::Sarif => "sarif",
            OutputFormat::Github => "github",
        };
        Err(Error::new(format!(
            "write the result of {verb} as {name}: {verb} has the forms text, json and markdown; {name} is a form of \
             check and run"
        )))
    }

    /// Writes the result. A reader that has seen enough (`leakcheck … | head -1`) is no failure.
    pub(crate) fn print(&self, text: &str) -> Result<(), Error> {
        self.print_bytes(text.as_bytes())
    }

    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        self.has_reader(bytes).map(|_| ())
    }

    /// Writes a part of the result; whether somebody still reads it.
    pub(crate) fn has_reader(&self, bytes: &[u8]) -> Result<bool, Error> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(e) => Err(Error::because("write to standard output", e)),
        }
    }
}

/// Writes to standard error; there is nobody to tell when that fails.
pub(crate) fn to_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
