//! What a reader must know about the data: losses of the recording, what came before it, and that there is none.

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
    let kernel = (series.recording.source == Source::Kernel).then(|| {
        "the figures are the kernel's: without the recorder in the program nothing tells which code holds what"
            .to_owned()
    });
    let lost = (!lost.is_empty()).then(|| format!("losses of the recording: {}", lost.join(", ")));
    let predating = series.recording.predating_bytes.map(|bytes| {
        format!(
            "up to {:.1} MiB were in use before the recording began; which code holds them is not known",
            bytes as f64 / f64::from(1 << 20)
        )
    });
    kernel.into_iter().chain(predating).chain(lost).collect()
}
