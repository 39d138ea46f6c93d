//! Findings of one place explain each other: the value put into a map is allocated before the map is reached, and only
//! the map's own table, another site of the same function, shows what holds it.

use super::judgement::{Cause, Finding};
use crate::model::{FoldedStack, Origin};

/// Gives findings whose cause is general the special one of a finding in the same function.
pub(super) fn settle(findings: &mut [Finding]) {
    let settled: Vec<Option<(Cause, String)>> = findings
        .iter()
        .map(|finding| {
            if !is_general(finding.cause) {
                return None;
            }
            let place = allocating(&finding.stack)?;
            let sibling =
                findings.iter().find(|other| !is_general(other.cause) && allocating(&other.stack) == Some(place))?;
            Some((sibling.cause, sibling.advice.clone()))
        })
        .collect();
    for (finding, settled) in findings.iter_mut().zip(settled) {
        if let Some((cause, advice)) = settled {
            finding.cause = cause;
            finding.advice = advice;
        }
    }
}

/// The function of the program that allocates here itself, not by way of a library.
pub(super) fn allocating(stack: &FoldedStack) -> Option<&str> {
    let leaf = stack.frames.first()?;
    (leaf.origin == Origin::Program).then_some(leaf.function.name.as_str())
}

/// The program's functions that called the one that allocates: the next two outwards.
pub(super) fn callers(stack: &FoldedStack) -> Vec<&str> {
    let own = stack.frames.iter().filter(|frame| frame.origin == Origin::Program);
    own.skip(1).take(2).map(|frame| frame.function.name.as_str()).collect()
}

const fn is_general(cause: Cause) -> bool {
    matches!(cause, Cause::GrowingCollection | Cause::GrowingBuffer | Cause::Unknown)
}
