//! The command line of the runner.

use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
What recording costs: workloads under leakcheck and its peers, compared with the same under no recorder.

cargo run --release -- [OPTIONS]

  --workload NAME   only rows of this workload; may be given more than once
  --variant NAME    only this variant and its baseline; may be given more than once
  --peers           with leakcheck's peers, which are built for it
  --rounds N        rounds of all variants in turn [9]
  --quick           3 rounds of less work
  --smoke           a short run of every workload without peers, which fails when one gives wrong results
  --json FILE       write all figures of all rounds
  --markdown        print the tables in Markdown
";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Print the help.
    Help,
    /// Measure.
    Measure,
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
            rounds: 9,
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
        let default = if options.smoke {
            1
        } else if options.quick {
            3
        } else {
            9
        };
        options.rounds = rounds.unwrap_or(default).max(1);
        Ok(options)
    }
}
