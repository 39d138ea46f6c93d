//! Parameters of a workload as they stand on the command line: `name=value`.

use std::collections::BTreeMap;

/// Parameters by name. What is not given has the workload's default.
#[derive(Debug, Clone, Default)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads `name=value` arguments.
    ///
    /// # Errors
    ///
    /// Names the argument that is not of this form.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let pairs = arguments.iter().map(|argument| match argument.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("expected name=value, found `{argument}`")),
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// A text, or `default`.
    #[must_use]
    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.get(name).map_or(default, String::as_str)
    }

    /// A number, or `default`.
    ///
    /// # Errors
    ///
    /// When what is given is no number.
    pub fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        match self.0.get(name) {
            Some(value) => value.parse().map_err(|_| format!("{name}={value}: expected a number")),
            None => Ok(default),
        }
    }

    /// A number of operations, or `default`, times the parameter `scale`: slow peers do fewer. At least 1.
    ///
    /// # Errors
    ///
    /// When what is given is no number.
    pub fn scaled(&self, name: &str, default: u64) -> Result<u64, String> {
        let scale = self.text("scale", "1");
        let factor: f64 = scale.parse().map_err(|_| format!("scale={scale}: expected a number"))?;
        Ok(((self.number(name, default)? as f64 * factor) as u64).max(1))
    }
}
