//! Findings of one place explain each other: the value put into a map is allocated before the map is reached, and only
//! the map's own table, another site of the same function, shows what holds it.

use super::judgement::{Cause, Finding};

/// Gives findings whose cause is general the special one of a finding in the same function.
pub(super) fn settle(findings: &mut [Finding]) {
    let settled: Vec<Option<(Cause, String)>> = findings
        .iter()
        .map(|finding| {
            if !is_general(finding.cause) {
                return None;
            }
            let title = &finding.stack.title()?.function.name;
            let sibling = findings.iter().find(|other| {
                !is_general(other.cause) && other.stack.title().is_some_and(|frame| frame.function.name == *title)
            })?;
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

const fn is_general(cause: Cause) -> bool {
    matches!(cause, Cause::GrowingCollection | Cause::GrowingBuffer | Cause::Unknown)
}
