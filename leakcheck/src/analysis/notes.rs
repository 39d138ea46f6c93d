//! What a reader must know about the data: losses of the recording, and that there is none.

use crate::model::{Series, Source};

pub(super) fn of(series: &Series) -> Vec<String> {
    let Some(last) = series.moments.last() else { return Vec::new() };
    let lost: Vec<String> = last
        .losses
        .named()
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{} {count}", name.replace('_', " ")))
        .collect();
    let mut notes = Vec::new();
    if series.recording.source == Source::Kernel {
        notes.push(
            "the figures are the kernel's: without the recorder in the program nothing tells which code holds what"
                .to_owned(),
        );
    }
    if !lost.is_empty() {
        notes.push(format!("losses of the recording: {}", lost.join(", ")));
    }
    notes
}
