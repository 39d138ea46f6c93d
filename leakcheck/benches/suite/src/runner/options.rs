//! The command line of the runner.

use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
What recording costs: workloads under leakcheck and its peers, compared with the same under no recorder.

cargo run --release -- [OPTIONS]
cargo run --release -- compare REVISION [OPTIONS]     leakcheck of this tree and of another commit
cargo run --release -- watch [OPTIONS]                what `leakcheck watch` costs a program, and what it takes itself

  --peers           with leakcheck's peers, which are built for it
  --workload NAME   only rows of this workload; may be given more than once
  --variant NAME    only this variant and its baseline; may be given more than once
  --rounds N        rounds of all variants in turn [9]
  --quick           3 rounds of less work
  --smoke           a short run of every workload without peers, which fails when one gives wrong results
  --callgrind       count instructions instead of measuring time
  --json FILE       write all figures of all rounds
  --markdown        print the tables in Markdown

Of `watch` the workloads are http, mappings, days and start, and only --rounds, --quick and --smoke mean something besides.
LEAKCHECK_COMMAND names a command that is built already.
";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Print the help.
    Help,
    /// Measure.
    Measure,
    /// Compare with the leakcheck of another commit.
    Compare(String),
    /// What watching costs.
    Watch,
    /// Count instructions.
    Callgrind,
}

/// The options, with their defaults filled in.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) action: Action,
    pub(crate) workloads: Vec<String>,
    pub(crate) variants: Vec<String>,
    pub(crate) peers: bool,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) smoke: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) markdown: bool,
}

impl Options {
    /// Reads the arguments.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            action: Action::Measure,
            workloads: Vec::new(),
            variants: Vec::new(),
            peers: false,
            rounds: 0,
            quick: false,
            smoke: false,
            json: None,
            markdown: false,
        };
        let mut rounds = None;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().cloned().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "compare" => options.action = Action::Compare(value()?),
                "watch" => options.action = Action::Watch,
                "--callgrind" => options.action = Action::Callgrind,
                "--workload" => options.workloads.push(value()?),
                "--variant" => options.variants.push(value()?),
                "--peers" => options.peers = true,
                "--rounds" => rounds = Some(value()?.parse().map_err(|_| "--rounds needs a number".to_owned())?),
                "--quick" => options.quick = true,
                "--smoke" => options.smoke = true,
                "--json" => options.json = Some(value()?.into()),
                "--markdown" => options.markdown = true,
                "--help" | "-h" => options.action = Action::Help,
                _ => return Err(format!("there is no option `{argument}`; see --help")),
            }
        }
        options.rounds = rounds.unwrap_or(options.default_rounds()).max(1);
        Ok(options)
    }

    const fn default_rounds(&self) -> usize {
        match (self.smoke, self.quick) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&arguments)
    }

    #[test]
    fn options_are_read() {
        let options = parse("compare HEAD^ --workload json --workload path --quick").unwrap();
        assert_eq!(options.action, Action::Compare("HEAD^".into()));
        assert_eq!(options.workloads, ["json", "path"]);
        assert_eq!(options.rounds, 3);
        assert_eq!(parse("--rounds 5 --quick").unwrap().rounds, 5);
        assert_eq!(parse("").unwrap().rounds, 9);
        assert_eq!(parse("watch --workload days").unwrap().action, Action::Watch);
    }

    #[test]
    fn wrong_ones_are_named() {
        for (line, word) in [("--worklaod x", "--worklaod"), ("--rounds many", "--rounds"), ("--json", "--json")] {
            assert!(parse(line).unwrap_err().contains(word), "{line}");
        }
    }
}
