//! The command line: verbs, options, and the help that belongs to them.

use crate::units;
use clap::{Args, Parser, Subcommand, ValueEnum};
use leakcheck::model::Mode;
use std::ffi::OsString;
use std::path::PathBuf;

/// Finds memory leaks: which call site keeps growing, how fast, and why.
#[derive(Debug, Parser)]
#[command(name = "leakcheck", version, max_term_width = 100, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing is leaking
  1  something is leaking
  2  wrong usage, or a file that cannot be read or written
  3  with --strict or --fail-on inconclusive: the data does not tell yet; with --self-test: a planted leak does not show

Examples:
  leakcheck run -- ./target/release/shop --port 8080
  leakcheck check leakcheck-out/shop-20260131-120000
  leakcheck plot leakcheck-out/shop-20260131-120000 -o heap.png";

/// How results are written; the same for every verb.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// How the result is written to standard output
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Text, display_order = 100)]
    pub(crate) format: OutputFormat,
    /// Colour in text; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", display_order = 101)]
    pub(crate) color: Colour,
}

/// A form of result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For a person at a terminal
    Text,
    /// For programs; described by the schemas in docs/
    Json,
    /// For a comment on a change, or a report
    Markdown,
    /// JUnit XML, for test reports of a CI server (check and run)
    Junit,
    /// SARIF 2.1.0, for code scanning (check and run)
    Sarif,
    /// Workflow commands of GitHub Actions: annotations at the lines that leak (check and run)
    Github,
}

/// From which verdict on a gate fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Exit with 1 when something is leaking
    Leaking,
    /// Also exit with 3 when the data does not tell
    Inconclusive,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Watch(WatchArgs),
    Check(CheckArgs),
    Diff(DiffArgs),
    Plot(PlotArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Run a program that has the recorder, then judge it and draw its heap
///
/// The program is started with recording switched on by its environment. When it has ended (or on Ctrl-C, which ends
/// both), its snapshots are judged, its heap is drawn to heap.png beside them, and the report of `check` is printed.
/// A program without the recorder is run all the same; then only its resident memory can be shown.
#[derive(Debug, Args)]
#[command(
    override_usage = "leakcheck run [OPTIONS] -- <PROGRAM> [ARGS]...",
    after_help = "\
The program's own output goes where it always goes; with any other --format than text its standard output goes to \
standard error, so that standard output holds the report alone.

The exit code of a program that fails is passed on (128 + number for a signal); otherwise it is that of the verdict.

Examples:
  leakcheck run -- ./shop --port 8080
  leakcheck run --every 500ms --out soak -- ./shop --port 8080
  leakcheck run --mode sampled:128KiB --format json -- ./shop > report.json
  leakcheck run --strict --accept leaks.txt --format github -- ./shop"
)]
pub(crate) struct RunArgs {
    /// Folder for the snapshots [default: leakcheck-out/PROGRAM-TIME]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Time between snapshots
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::parse_interval_ms)]
    pub(crate) every: u64,
    /// What to record: exact (every block), sampled, or sampled:BYTES (about one allocation per so many bytes)
    #[arg(long, default_value = "exact", value_parser = parse_mode)]
    pub(crate) mode: String,
    /// Where to draw the heap [default: heap.png in the folder of the snapshots]
    #[arg(long, value_name = "FILE")]
    pub(crate) png: Option<PathBuf>,
    /// Replace the picture when it exists
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
    /// The program with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM", allow_hyphen_values = true)]
    pub(crate) program: Vec<OsString>,
}

/// Watch running processes: is one of them leaking, how fast, and where
///
/// Any process can be watched: what the kernel says of its memory, descriptors, threads and mappings is sampled and judged.
/// Where the program has the recorder in it, dormant or not, it is woken, asked for snapshots and put back as it was, and
/// the report names the call sites that leak. The watched processes are never stopped, traced or written to.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("which").required(true).multiple(true).args(["pid", "name"]),
    after_help = "\
On a terminal there is a live view (q ends it with the report); elsewhere lines on standard error tell how it goes, and with \
--format json each sample is a line on standard output. It ends after --for, with --until-verdict, on Ctrl-C, or when all \
processes have ended; then the report of `check` is printed and the heap drawn.

Examples:
  leakcheck watch --pid 4711
  leakcheck watch --pid 4711 --children --for 10m --out soak
  leakcheck watch --name gunicorn --until-verdict --quiet
  leakcheck watch --pid 4711 --mode exact --png heap.png
  leakcheck watch --name 'shop-*' --listen 127.0.0.1:9464"
)]
pub(crate) struct WatchArgs {
    /// A process; may be given several times. When it ends and its parent starts the same program again, that is watched
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: Vec<u32>,
    /// All processes with this in the name of their program or script, as they come and go; * ? [] make it a pattern for
    /// the whole name. May be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(crate) name: Vec<String>,
    /// Also all that descend from them, as they come and go
    #[arg(long)]
    pub(crate) children: bool,
    /// How long to watch [default: until interrupted]
    #[arg(long = "for", value_name = "TIME", value_parser = units::parse_duration_ms)]
    pub(crate) for_: Option<u64>,
    /// End as soon as each process is known to leak or not to
    #[arg(long)]
    pub(crate) until_verdict: bool,
    /// Time between samples
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::parse_interval_ms)]
    pub(crate) every: u64,
    /// What a recorder that is woken records: exact (every block), sampled, or sampled:BYTES
    #[arg(long, default_value = "sampled", value_parser = parse_recorded_mode)]
    pub(crate) mode: Mode,
    /// Folder for the snapshots [default: leakcheck-out/watch-TIME]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Where to draw the heap [default: heap.png in the folder of the snapshots]
    #[arg(long, value_name = "FILE")]
    pub(crate) png: Option<PathBuf>,
    /// Replace the picture when it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Serve figures for Prometheus at this address, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Neither live view nor lines: the report alone
    #[arg(long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
}

/// Judge a series of snapshots: is it leaking, where, how fast, why
///
/// SERIES are folders of snapshots, snapshot files, or glob patterns. Snapshots of several processes are told apart
/// and judged one by one; the verdict over all is the worst. Several processes of one program that followed each other
/// are looked at together as well: growth that restarts hide is a leak. Use it as a gate: the exit code is 1 when
/// something leaks that is neither accepted nor known from a baseline.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leakcheck check leakcheck-out/shop-20260131-120000
  leakcheck check --strict --min-rate 1MiB/h --warm-up 30s soak
  leakcheck check 'soak/leakcheck-4711-*.json' --format json
  leakcheck check --baseline leakcheck-out/main --accept leaks.txt soak
  leakcheck check --limit 512MiB --format markdown soak > comment.md
  leakcheck check --self-test --min-rate 1MiB/h soak
  leakcheck check --format sarif soak > leaks.sarif

A file for --accept, in LeakSanitizer's form:
  # The interner is never emptied, and bounded by the number of words.
  leak:shop::words::Interner
  leak:^shop::glyphs::*::rasterize$
  leak:libfontconfig.so")]
pub(crate) struct CheckArgs {
    /// Folders, files or patterns
    #[arg(required = true, value_name = "SERIES")]
    pub(crate) series: Vec<PathBuf>,
    /// Plant a leak of --min-rate into the series, and fail with 3 when it is not seen
    ///
    /// A gate that cannot fail proves nothing. Without --min-rate a leak is planted that any sound series shows. The report
    /// says which rate this run can show at least.
    #[arg(long)]
    pub(crate) self_test: bool,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
}

/// What is a leak, what of it counts, and how much to show.
#[derive(Debug, Clone, Args)]
pub(crate) struct JudgeArgs {
    /// From which verdict on to fail
    #[arg(long, value_enum, default_value_t = FailOn::Leaking, value_name = "VERDICT")]
    pub(crate) fail_on: FailOn,
    /// Exit with 3 when the data does not tell: short for --fail-on inconclusive
    #[arg(long, conflicts_with = "fail_on")]
    pub(crate) strict: bool,
    /// Leaks to accept: a file of leak:PATTERN lines; PATTERN is part of a function, file, module or scope, with * ^ $
    /// as in LeakSanitizer's suppressions. May be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) accept: Vec<PathBuf>,
    /// A recording of the same program that is known to be good: its leaks are known, its bounds are bounds. A folder,
    /// file or pattern; may be given several times
    #[arg(long, value_name = "SERIES")]
    pub(crate) baseline: Vec<PathBuf>,
    /// Slower growth is not called a leak
    #[arg(long, value_name = "RATE", default_value = "0B/s", value_parser = units::parse_rate)]
    pub(crate) min_rate: f64,
    /// Ignore this much at the beginning [default: found by the analysis]
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration_ms)]
    pub(crate) warm_up: Option<u64>,
    /// Memory the program may use, such as 512MiB: says when its leaks reach it [default: its control group's limit]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    pub(crate) limit: Option<u64>,
    /// How many sites to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,
}

impl JudgeArgs {
    /// Whether not to know is a failure.
    pub(crate) fn inconclusive_fails(&self) -> bool {
        self.strict || self.fail_on == FailOn::Inconclusive
    }
}

/// Compare two snapshots: what grew, per call site
///
/// The sites are matched by the functions of their stacks, so the snapshots may be of different runs and builds.
/// A diff shows growth, not a verdict: that takes a series, see `leakcheck check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leakcheck diff soak/leakcheck-4711-000000.json soak/leakcheck-4711-000059.json
  leakcheck diff --top 3 before.json after.json --format markdown")]
pub(crate) struct DiffArgs {
    /// The earlier snapshot
    #[arg(value_name = "BASE")]
    pub(crate) baseline: PathBuf,
    /// The later snapshot
    #[arg(value_name = "CURRENT")]
    pub(crate) current: PathBuf,
    /// How many sites to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) top: usize,
}

/// Draw the heap over time: live memory by site, with resident memory beside it
///
/// The sites that grow most are stacked, the rest below them. Named checkpoints are marked. Several processes are
/// drawn one below the other.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leakcheck plot soak -o heap.png
  leakcheck plot soak -o heap.svg --top 3 --size 1600x900 --force")]
pub(crate) struct PlotArgs {
    /// Folders, files or patterns
    #[arg(required = true, value_name = "SERIES")]
    pub(crate) series: Vec<PathBuf>,
    /// The picture; its extension, .png or .svg, decides the format
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// How many sites to draw
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u8).range(0..=20))]
    pub(crate) top: u8,
    /// Width and height in pixels
    #[arg(long, value_name = "WxH", default_value = "1200x700", value_parser = units::parse_pixels)]
    pub(crate) size: (u32, u32),
    /// Replace the picture when it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// Print a script that completes leakcheck's options in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leakcheck completions bash > leakcheck.bash
  leakcheck completions fish > leakcheck.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page, or write one per verb
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leakcheck man > leakcheck.1
  leakcheck man --out man1")]
pub(crate) struct ManArgs {
    /// Folder for the pages of all verbs
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Passed on to the recorder in the environment as it stands.
fn parse_mode(text: &str) -> Result<String, String> {
    parse_recorded_mode(text).map(|_| text.to_owned())
}

fn parse_recorded_mode(text: &str) -> Result<Mode, String> {
    match text {
        "exact" => Ok(Mode::Exact),
        "sampled" => Ok(Mode::Sampled { interval_bytes: 512 << 10 }),
        _ => text
            .strip_prefix("sampled:")
            .and_then(|size| units::parse_size(size).ok())
            .map(|interval_bytes| Mode::Sampled { interval_bytes })
            .ok_or_else(|| format!("expected exact, sampled or sampled:BYTES such as sampled:512KiB, found '{text}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_after_the_program_are_the_programs() {
        let cli = Cli::parse_from(["leakcheck", "run", "--every", "2s", "--", "shop", "--format", "x", "--", "-o"]);
        let Command::Run(run) = cli.command else { panic!("{cli:?}") };
        assert_eq!(run.every, 2000);
        assert_eq!(run.program, ["shop", "--format", "x", "--", "-o"]);
    }
}
