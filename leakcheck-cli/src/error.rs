//! What went wrong, as one chain of fragments that reads after "failed to".

use std::error::Error as StdError;
use std::fmt;

type Source = Box<dyn StdError + Send + Sync>;

/// An error of the command. Each one is the user's to cure, so each one has the same exit code.
#[derive(Debug)]
pub(crate) struct Error {
    text: String,
    source: Option<Source>,
}

impl Error {
    /// `text` is lower case and reads after "failed to": what was tried, on what, why not, and the cure.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), source: None }
    }

    /// The same with the error that caused it.
    pub(crate) fn because(text: impl Into<String>, source: impl Into<Source>) -> Self {
        Self { text: text.into(), source: Some(source.into()) }
    }

    /// The whole chain on one line. A source whose words were said already is not said twice.
    pub(crate) fn chain(&self) -> String {
        let mut said = self.text.clone();
        let mut next = self.source.as_deref().map(|source| source as &(dyn StdError + 'static));
        while let Some(error) = next {
            let text = error.to_string();
            if !said.contains(&text) {
                said.push_str(": ");
                said.push_str(&text);
            }
            next = error.source();
        }
        said
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<leakcheck::format::Error> for Error {
    fn from(error: leakcheck::format::Error) -> Self {
        Self { text: error.to_string(), source: Some(Box::new(error)) }
    }
}
