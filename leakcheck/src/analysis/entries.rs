//! A buffer is as bounded as what it holds: the table of a map, or the buffer of a vector or a queue, grows in steps, and the last
//! step says little; its entries, blocks of another site, say more.
//!
//! Whose entries they are is told by number. A buffer steps when it is full: if at each of its steps there were as many entries as
//! fit the capacity before it, with one size of a slot for all, they are its own. And a hash table of a given size is at rest on a
//! known number of entries, also when deletions made it grow once more than they do. Fails: where the entries lie in the buffer
//! itself, and nothing else tells their number; then nothing is said.

use super::cause;
use super::judge::Judged;
use super::judgement::Verdict;
use super::rules::steps;
use super::siblings;
use super::view::View;
use super::window::Window;
use crate::model::{Series, SiteKey, SiteSeries};
use std::collections::{HashMap, HashSet};

/// Fewer entries tell nothing.
const ENTRIES_MIN: f64 = 16.0;
/// Steps at which the number of entries must fit.
const STEPS_MIN: usize = 3;
/// No slot is smaller than a pointer.
const SLOT_MIN_BYTES: f64 = 8.0;
/// Entries are counted at snapshots, and a few may be on their way in or out.
const SLACK: f64 = 1.1;

/// Buffers that are not called bounded although their entries are, by their place in `judged`, with the number of entries.
pub(super) fn of_buffers(series: &Series, window: &Window, judged: &[Judged<'_>]) -> Vec<(usize, f64)> {
    let is_buffer = |one: &Judged<'_>| {
        one.verdict != Verdict::Bounded && one.view.is_few_blocks() && cause::is_holder(&one.view.site.stack)
    };
    let buffers: Vec<usize> = (0..judged.len()).filter(|place| is_buffer(&judged[*place])).collect();
    if buffers.is_empty() {
        return Vec::new();
    }
    let sites = Sites::of(series, window, judged);
    buffers.into_iter().filter_map(|place| Some((place, sites.bounded_entries(&judged[place])?))).collect()
}

/// Sites that may be entries, by the functions of the program they are allocated in.
struct Sites<'a> {
    window: &'a Window,
    last: usize,
    /// By the innermost function.
    innermost: HashMap<String, Vec<&'a SiteSeries>>,
    /// By one of the functions that called it.
    further_out: HashMap<String, Vec<&'a SiteSeries>>,
    /// Most sites are bounded at a glance, and not judged any further.
    unbounded: HashSet<SiteKey>,
}

impl<'a> Sites<'a> {
    fn of(series: &'a Series, window: &'a Window, judged: &[Judged<'_>]) -> Self {
        let last = window.moments.last().copied().unwrap_or(0);
        let unbounded =
            judged.iter().filter(|one| one.verdict != Verdict::Bounded).map(|one| one.view.site.key).collect();
        let (innermost, further_out) = (HashMap::new(), HashMap::new());
        let mut sites = Self { window, last, innermost, further_out, unbounded };
        let most = |site: &SiteSeries| site.points.iter().map(|point| point.counters.live().blocks).max().unwrap_or(0);
        for site in series.sites.iter().filter(|site| most(site) as f64 >= ENTRIES_MIN) {
            for (distance, place) in siblings::places(&site.stack).take(siblings::CALLERS).enumerate() {
                let by_place = if distance == 0 { &mut sites.innermost } else { &mut sites.further_out };
                by_place.entry(place).or_default().push(site);
            }
        }
        sites
    }

    /// The number of entries of a buffer, when there are some and all that may be are bounded.
    fn bounded_entries(&self, buffer: &Judged<'_>) -> Option<f64> {
        let view = &buffer.view;
        let mut places = siblings::places(&view.site.stack).take(siblings::CALLERS);
        let own = places.next()?;
        let in_same = self.innermost.get(&own).into_iter().chain(self.further_out.get(&own)).flatten();
        let in_callers = places.filter_map(|place| self.innermost.get(&place)).flatten();
        // One that is called leaking has grown on and on: that is not said of a table at rest.
        let at_rest = if buffer.verdict == Verdict::Leaking { NOTHING } else { entries_at_rest(view) };
        let (mut entries, mut all_bounded) = (None, true);
        for site in in_same.chain(in_callers).filter(|site| site.key != view.site.key) {
            let count = site.at(self.last).live().blocks as f64;
            if count >= ENTRIES_MIN && at_rest.contains(&count) || self.filled_it(view, site) {
                all_bounded &= !self.unbounded.contains(&site.key);
                entries = Some(entries.map_or(count, |entries: f64| entries.max(count)));
            }
        }
        entries.filter(|_| all_bounded)
    }

    /// Whether at each step of the buffer there were as many blocks of the site as its capacity had room for, at one size of a
    /// slot.
    fn filled_it(&self, view: &View<'_>, site: &SiteSeries) -> bool {
        let count = |place: usize| site.at(self.window.moments[place]).live().blocks as f64;
        let (mut least, mut most, mut fitting) = (SLOT_MIN_BYTES, f64::MAX, 0);
        // A step that is more than one doubling does not tell when the buffer was full.
        for step in steps(view).iter().filter(|step| step.after <= 2.2 * step.before) {
            let (before, after) = (count(step.place - 1), count(step.place));
            let chance = SLACK + 2.0 * ((1.0 - view.recorded_share) / (after * view.recorded_share).max(1.0)).sqrt();
            least = least.max(step.before / (after.max(before).max(1.0) * chance));
            most = most.min(step.before * chance / after.min(before).max(1.0));
            fitting += 1;
        }
        fitting >= STEPS_MIN && least <= most
    }
}

/// The numbers of entries with which a hash table has come to rest. A table of 2^k buckets holds 7/8 of them at most, takes one
/// byte and one entry for each, and 16 bytes beside; an entry is of a multiple of four bytes. When it is full, counting the marks
/// that deleted entries leave, it grows if its entries are more than half of what it can hold, else it is only cleaned. So it grows
/// to twice the size on entries that fill the smaller one half, and no further until they fill the new one half. (hashbrown,
/// `reserve_rehash`.) None for what is no hash table.
fn entries_at_rest(view: &View<'_>) -> std::ops::RangeInclusive<f64> {
    let is_table = |name: &String| name.contains("hashbrown::") || name.contains("HashMap") || name.contains("HashSet");
    if view.site.stack.plumbing.iter().any(is_table) { at_rest(view.last(&view.bytes)) } else { NOTHING }
}

const NOTHING: std::ops::RangeInclusive<f64> = 1.0..=0.0;

fn at_rest(table_bytes: f64) -> std::ops::RangeInclusive<f64> {
    let buckets = match (table_bytes as u64).checked_sub(16) {
        Some(bytes) if bytes > 0 => 1_u64 << bytes.trailing_zeros(),
        _ => return NOTHING,
    };
    let most = buckets as f64 * 7.0 / 8.0;
    // A sixteenth more or less: sampled counts are estimates.
    most / 4.0 * 15.0 / 16.0..=most * 17.0 / 16.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_at_rest_on_as_many_entries_as_made_it_grow_last() {
        // 1024 buckets of 40 bytes, 896 entries at most.
        let numbers = at_rest(1024.0 * 41.0 + 16.0);
        assert!(numbers.contains(&300.0) && numbers.contains(&896.0), "{numbers:?}");
        assert!(!numbers.contains(&150.0) && !numbers.contains(&1000.0), "{numbers:?}");
        assert!(at_rest(0.0).is_empty() && at_rest(16.0).is_empty());
    }
}
