//! Exit codes: part of the interface, so that scripts and gates may rely on them.

use leakcheck::analysis::Verdict;
use std::process::ExitCode;

/// Nothing leaks, or the command has no verdict to give and did its work.
pub(crate) const NOTHING_LEAKING: u8 = 0;
/// Something leaks.
pub(crate) const LEAKING: u8 = 1;
/// Wrong usage, or an input or output that could not be used.
pub(crate) const ERROR: u8 = 2;
/// When that is asked for: the data does not tell.
pub(crate) const INCONCLUSIVE: u8 = 3;
/// Added to the number of the signal that ended the program of `leakcheck run`.
pub(crate) const SIGNAL_BASE: u8 = 128;

/// How the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    pub(crate) const SUCCESS: Self = Self(NOTHING_LEAKING);
    pub(crate) const ERROR: Self = Self(ERROR);

    /// The code of a verdict; an inconclusive one counts only when it is to fail.
    pub(crate) const fn of_verdict(verdict: Verdict, inconclusive_fails: bool) -> Self {
        Self(match verdict {
            Verdict::Leaking => LEAKING,
            Verdict::Inconclusive if inconclusive_fails => INCONCLUSIVE,
            Verdict::Inconclusive | Verdict::Bounded => NOTHING_LEAKING,
        })
    }

    /// The code of the program that was run.
    pub(crate) const fn of_child(code: u8) -> Self {
        Self(code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
