//! The runner: builds the children, starts them in turn, and prints what recording costs.
//!
//! In every round each variant runs once, and is compared with its baseline of the same round: a machine whose speed
//! drifts gives the same ratios. It measures nothing itself.

mod runner;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match runner::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("suite: {why}");
            ExitCode::FAILURE
        }
    }
}
