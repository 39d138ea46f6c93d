//! What a reader must know about the data: losses of the recording, and what came before it.

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
    let lost = (!lost.is_empty()).then(|| format!("losses of the recording: {}", lost.join(", ")));
    let predating = series.recording.predating_bytes.map(|bytes| {
        format!(
            "up to {:.1} MiB were in use before the recording began; which code holds them is not known",
            bytes as f64 / f64::from(1 << 20)
        )
    });
    predating.into_iter().chain(lost).collect()
}
