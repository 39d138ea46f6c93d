//! What a reader must know about the data: losses of the recording.

use crate::model::Series;

pub(super) fn of(series: &Series) -> Vec<String> {
    let Some(last) = series.moments.last() else { return Vec::new() };
    let lost: Vec<String> = last
        .losses
        .named()
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{} {count}", name.replace('_', " ")))
        .collect();
    if lost.is_empty() { lost } else { vec![format!("losses of the recording: {}", lost.join(", "))] }
}
