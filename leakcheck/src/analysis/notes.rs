//! What a reader must know about the data: losses, and memory that grows outside the heap.

use super::window::Window;
use crate::model::{Resident, Series};

/// Resident growth below this is not worth a word.
const RESIDENT_GROWTH_MIN: u64 = 4 << 20;

pub(super) fn of(series: &Series, window: &Window) -> Vec<String> {
    let mut notes = losses(series);
    notes.extend(resident_growth(series, window));
    notes
}

fn losses(series: &Series) -> Vec<String> {
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

/// Says which part of resident memory grows when the heap does not.
fn resident_growth(series: &Series, window: &Window) -> Option<String> {
    let middle = window.moments.get(window.len() / 2)?;
    let (then, now) = (&series.moments[*middle], &series.moments[*window.moments.last()?]);
    let (before, after) = (then.resident?, now.resident?);
    let heap = now.totals.live().bytes.saturating_sub(then.totals.live().bytes)
        + now.recorder_bytes.saturating_sub(then.recorder_bytes);
    let grown = after.rss_bytes.saturating_sub(before.rss_bytes);
    if grown < RESIDENT_GROWTH_MIN || heap * 2 >= grown {
        return None;
    }
    let part = |of: fn(&Resident) -> Option<u64>| Some(of(&after)?.saturating_sub(of(&before)?));
    let retained = |r: &Resident| Some(r.allocator_held_bytes?.saturating_sub(r.allocator_used_bytes?));
    let parts = [
        (
            "memory the allocator holds but no block uses (fragmentation or free lists; malloc_trim, fewer arenas or \
          another allocator help)",
            part(retained),
        ),
        ("mapped files", part(|r| r.file_bytes)),
        ("shared memory", part(|r| r.shared_bytes)),
        (
            "anonymous memory outside the recorded heap (other allocators, stacks of threads, mmap)",
            part(|r| r.anonymous_bytes),
        ),
    ];
    let (name, _) =
        parts.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).find(|(_, b)| *b * 2 >= grown)?;
    Some(format!(
        "resident memory grew by {:.1} MiB in the later half while the recorded heap grew by {:.1} MiB: it is {name}, not a \
         leak of a recorded site",
        mib(grown),
        mib(heap)
    ))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
