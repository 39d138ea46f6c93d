//! How a watched process stands, in one line.

use super::headline::verdict_in_words;
use super::{EvidenceKind, ProcessView, WatchView};
use crate::units;
use leakcheck::analysis::Verdict;

/// `1 min 20 s  shop (pid 4711): leaking, 1.20 KiB/s, live 3.10 MiB, resident 14.0 MiB`
pub(crate) fn process(view: &WatchView, process: &ProcessView) -> String {
    let mut parts = vec![verdict_in_words(process.verdict).to_owned()];
    if process.verdict != Verdict::Bounded {
        parts.extend(process.rate_bytes_per_second.map(units::rate));
    }
    parts.extend(process.live_bytes.map(|bytes| format!("live {}", units::bytes(bytes))));
    parts.push(format!("resident {}", units::bytes(process.resident.rss_bytes)));
    if process.evidence == EvidenceKind::Kernel {
        parts.push("no recorder".to_owned());
    }
    if process.verdict == Verdict::Inconclusive {
        parts.extend(process.more_ms.map(|ms| format!("about {} more to tell", units::duration(ms))));
    }
    let elapsed = units::duration(view.elapsed_ms / 1000 * 1000);
    format!("{elapsed}  {} (pid {}): {}", process.name, process.pid, parts.join(", "))
}
