//! What the person at the live view has chosen, and what keys change of it.

use super::super::watch_view::{ProcessView, SiteView, WatchView};
use leakcheck::analysis::Verdict;
use std::cmp::Reverse;

/// A key, whatever read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Up,
    Down,
    Left,
    Right,
    Tab,
    Enter,
    Esc,
    CtrlC,
}

/// What a key asks of the watch itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiveAction {
    /// End the watch and report.
    Quit,
    /// Take a snapshot of every process with the recorder now.
    Snapshot,
}

/// How sites are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SiteOrder {
    #[default]
    Growth,
    Live,
    Blocks,
    Name,
}

impl SiteOrder {
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Growth => "growth",
            Self::Live => "live",
            Self::Blocks => "blocks",
            Self::Name => "name",
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Growth => Self::Live,
            Self::Live => Self::Blocks,
            Self::Blocks => Self::Name,
            Self::Name => Self::Growth,
        }
    }
}

/// What is shown, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveState {
    /// The process whose sites are shown; the first with the worst verdict until one is picked.
    picked: Option<u32>,
    pub(super) order: SiteOrder,
    /// What is shown in place of the present.
    pub(super) frozen: Option<Box<WatchView>>,
    pub(super) help: bool,
    pub(super) message: Option<String>,
    /// How many sites are above the first one shown.
    pub(super) sites_above: usize,
}

impl LiveState {
    /// Shows a line until the next key: what became of what a key asked for.
    pub(crate) fn tell(&mut self, message: impl Into<String>) {
        self.message = Some(message.into());
    }

    /// What a key does; the rest of it is up to the watch.
    pub(crate) fn key(&mut self, key: Key, view: &WatchView) -> Option<LiveAction> {
        self.message = None;
        match key {
            Key::CtrlC | Key::Char('q' | 'Q') => return Some(LiveAction::Quit),
            Key::Char('s' | 'S') => return Some(LiveAction::Snapshot),
            Key::Char('?' | 'h') => self.help = !self.help,
            Key::Esc | Key::Enter => self.help = false,
            Key::Char('p' | 'P' | ' ') => self.pause(view),
            Key::Char('o' | 'O') => {
                self.order = self.order.next();
                self.sites_above = 0;
            }
            Key::Up | Key::Char('k') => self.pick(view, |at, _| at.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.pick(view, |at, _| at + 1),
            Key::Tab => self.pick(view, next_leaking),
            Key::Left => self.sites_above = self.sites_above.saturating_sub(1),
            Key::Right => {
                let sites = self.selected(self.shown(view)).map_or(0, |process| process.sites.len());
                self.sites_above = (self.sites_above + 1).min(sites.saturating_sub(1));
            }
            Key::Char(_) => {}
        }
        None
    }

    fn pause(&mut self, view: &WatchView) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None => Some(Box::new(view.clone())),
        };
    }

    /// Picks another process: `to` gets the place of the present one, and the processes.
    fn pick(&mut self, view: &WatchView, to: impl Fn(usize, &[ProcessView]) -> usize) {
        let processes = &self.shown(view).processes;
        if let Some(at) = self.selected_at(processes) {
            let next = to(at, processes).min(processes.len() - 1);
            self.picked = Some(processes[next].pid);
            self.sites_above = 0;
        }
    }

    /// The present, or what was there when it was paused.
    pub(super) fn shown<'a>(&'a self, view: &'a WatchView) -> &'a WatchView {
        self.frozen.as_deref().unwrap_or(view)
    }

    pub(super) fn selected<'a>(&self, view: &'a WatchView) -> Option<&'a ProcessView> {
        self.selected_at(&view.processes).map(|at| &view.processes[at])
    }

    /// Where the selected process stands; none when there are no processes.
    pub(super) fn selected_at(&self, processes: &[ProcessView]) -> Option<usize> {
        // A number that was used again: the later one.
        let picked = self.picked.and_then(|pid| processes.iter().rposition(|process| process.pid == pid));
        picked.or_else(|| {
            let worst = processes.iter().map(|process| process.verdict).max()?;
            processes.iter().position(|process| process.verdict == worst)
        })
    }
}

/// The next process after `at` that leaks, round about; `at` itself when there is no other.
fn next_leaking(at: usize, processes: &[ProcessView]) -> usize {
    let around = (at + 1..processes.len()).chain(0..at);
    around.into_iter().find(|at| processes[*at].verdict == Verdict::Leaking).unwrap_or(at)
}

/// The sites in an order.
pub(super) fn sorted(sites: &[SiteView], order: SiteOrder) -> Vec<&SiteView> {
    let mut sites: Vec<&SiteView> = sites.iter().collect();
    match order {
        SiteOrder::Growth => sites.sort_by(|a, b| {
            let rate = |site: &SiteView| site.rate_bytes_per_second.unwrap_or(f64::NEG_INFINITY);
            b.verdict.cmp(&a.verdict).then_with(|| rate(b).total_cmp(&rate(a)))
        }),
        SiteOrder::Live => sites.sort_by_key(|site| Reverse(site.live_bytes)),
        SiteOrder::Blocks => sites.sort_by_key(|site| Reverse(site.live_blocks)),
        SiteOrder::Name => sites.sort_by(|a, b| a.label.cmp(&b.label)),
    }
    sites
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::made_up_watch;

    #[test]
    fn keys_ask_or_change_what_is_shown() {
        let view = made_up_watch::view();
        let mut state = LiveState::default();
        assert_eq!(state.key(Key::Char('q'), &view), Some(LiveAction::Quit));
        assert_eq!(state.key(Key::CtrlC, &view), Some(LiveAction::Quit));
        assert_eq!(state.key(Key::Char('s'), &view), Some(LiveAction::Snapshot));
        state.tell("asked for a snapshot of 1 process");
        assert_eq!(state.key(Key::Char('x'), &view), None);
        assert_eq!(state.message, None, "a message lasts until the next key");
        state.key(Key::Char('?'), &view);
        assert!(state.help);
        state.key(Key::Esc, &view);
        assert!(!state.help);
        for words in ["live", "blocks", "name", "growth"] {
            state.key(Key::Char('o'), &view);
            assert_eq!(state.order.in_words(), words);
        }
    }

    #[test]
    fn the_worst_process_is_selected_until_another_is_picked() {
        let mut view = made_up_watch::view();
        let mut state = LiveState::default();
        let pid = |state: &LiveState, view: &WatchView| state.selected(view).map(|process| process.pid);
        let [first, second] = [view.processes[0].pid, view.processes[1].pid];
        view.processes[0].verdict = Verdict::Bounded;
        assert_eq!(pid(&state, &view), Some(second));
        state.key(Key::Up, &view);
        assert_eq!(pid(&state, &view), Some(first));
        state.key(Key::Up, &view);
        assert_eq!(pid(&state, &view), Some(first));
        for _ in 0..3 {
            state.key(Key::Char('j'), &view);
            assert_eq!(pid(&state, &view), Some(second));
        }
        view.processes[0].verdict = Verdict::Leaking;
        state.key(Key::Tab, &view);
        assert_eq!(pid(&state, &view), Some(first));
        view.processes.remove(0);
        assert_eq!(pid(&state, &view), Some(second), "a picked one that is gone");
        view.processes.clear();
        for key in [Key::Up, Key::Down, Key::Tab, Key::Left, Key::Right] {
            state.key(key, &view);
            assert_eq!(pid(&state, &view), None);
        }
    }

    #[test]
    fn a_pause_keeps_the_picture() {
        let mut view = made_up_watch::view();
        let mut state = LiveState::default();
        state.key(Key::Char('p'), &view);
        view.elapsed_ms += 1000;
        assert_eq!(state.shown(&view).elapsed_ms + 1000, view.elapsed_ms);
        state.key(Key::Char('p'), &view);
        assert_eq!(state.shown(&view), &view);
    }

    #[test]
    fn sites_are_sorted_as_asked() {
        let view = made_up_watch::view();
        let first = |order| sorted(&view.processes[0].sites, order)[0].label.split("  ").next().unwrap_or_default();
        assert_eq!(first(SiteOrder::Growth), "shop::cache::Cache::remember");
        assert_eq!(first(SiteOrder::Live), "shop::pool::connect");
        assert_eq!(first(SiteOrder::Blocks), "shop::feed::poll");
        assert_eq!(first(SiteOrder::Name), "shop::cache::Cache::remember");
    }
}
