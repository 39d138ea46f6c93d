//! Whole screens as they are kept in `golden/`, and screens of every size.

use super::{Key, LiveState, draw};
use crate::render::made_up_watch;
use crate::render::text::Look;
use crate::render::watch_view::{EvidenceKind, HistoryPoint, ProcessState, ProcessView, SiteView, WatchView};
use leakcheck::analysis::Verdict;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

const PLAIN: Look = Look { columns: None, colour: false };

fn screen(view: &WatchView, state: &LiveState, (width, height): (u16, u16), look: Look) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view, state, look)).unwrap();
    terminal.backend().clone()
}

/// The screen as lines, blanks at their ends left out.
fn text(backend: &TestBackend) -> String {
    let cells = backend.buffer();
    let mut text = String::new();
    for y in 0..cells.area.height {
        let mut line = String::new();
        let mut x = 0;
        while x < cells.area.width {
            let symbol = cells[(x, y)].symbol();
            line.push_str(symbol);
            x += super::pen::width(symbol).max(1) as u16;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// To accept a new picture, copy what the failure shows into the file.
fn check(name: &str, expected: &str, view: &WatchView, state: &LiveState, size: (u16, u16)) {
    let found = text(&screen(view, state, size, PLAIN));
    assert!(found == expected, "{name} is now:\n{found}");
}

#[test]
fn screens_look_as_they_are_kept() {
    let view = made_up_watch::view();
    let mut state = LiveState::default();
    check("80x24.txt", include_str!("golden/80x24.txt"), &view, &state, (80, 24));
    check("200x60.txt", include_str!("golden/200x60.txt"), &view, &state, (200, 60));
    state.key(Key::Down, &view);
    check("kernel-only-80x24.txt", include_str!("golden/kernel-only-80x24.txt"), &view, &state, (80, 24));
    state.key(Key::Char('?'), &view);
    check("help-80x24.txt", include_str!("golden/help-80x24.txt"), &view, &state, (80, 24));
}

#[test]
fn without_colour_there_is_none_and_the_verdict_is_told() {
    let view = made_up_watch::view();
    let coloured = |look| {
        let backend = screen(&view, &LiveState::default(), (80, 24), look);
        let found = backend.buffer().content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        (found, text(&backend))
    };
    let (with, text) = coloured(Look { colour: true, ..PLAIN });
    assert!(with && text.starts_with("leaking: "));
    assert_eq!(coloured(PLAIN), (false, text));
}

/// Everything that is strange at once.
fn strange() -> WatchView {
    let mut view = made_up_watch::view();
    view.headline = "記憶の漏れ🦀\u{1b}[2J\n".repeat(40);
    view.elapsed_ms = u64::MAX;
    view.ended_before = u64::MAX;
    view.events = vec!["ended\r\n\t\u{202e}".repeat(50); 30];
    let long = "shop::very::deep::".repeat(20) + "Cache<K,V>::remember  src/" + &"deep/".repeat(20) + "cache.rs:31";
    let first = view.processes[0].clone();
    let site = SiteView {
        label: long,
        live_bytes: u64::MAX,
        live_blocks: u64::MAX,
        rate_bytes_per_second: Some(f64::MAX),
        ..first.sites[0].clone()
    };
    let names =
        ["", "a", "記憶の漏れを探すための長い名前のプログラム", "🦀👩‍👩‍👧🦀", "a\u{1b}[31m\nb\0", "e\u{301}\u{301}"];
    let points = |number: u64, apart: u64| {
        (0..number).map(move |at| HistoryPoint {
            elapsed_ms: at.saturating_mul(apart),
            rss_bytes: if at % 3 == 0 { u64::MAX } else { at },
            live_bytes: (at % 2 == 0).then_some(u64::MAX),
        })
    };
    view.processes = (0..200)
        .map(|at| ProcessView {
            pid: if at == 7 { u32::MAX } else { at as u32 },
            name: names[at % names.len()].to_owned(),
            state: if at % 5 == 0 { ProcessState::Ended } else { ProcessState::Running },
            evidence: [EvidenceKind::Exact, EvidenceKind::Sampled, EvidenceKind::Kernel][at % 3],
            verdict: [Verdict::Bounded, Verdict::Inconclusive, Verdict::Leaking][at % 7 % 3],
            more_ms: Some(u64::MAX),
            rate_bytes_per_second: [None, Some(f64::MIN), Some(f64::NAN), Some(f64::MAX)][at % 4],
            live_bytes: Some(u64::MAX),
            history: points([0, 1, 2, 400][at % 4], if at % 2 == 0 { 1000 } else { u64::MAX / 400 }).collect(),
            sites: vec![site.clone(); [0, 1, 30][at % 3]],
            site_counts: [u64::MAX; 3],
            ..first.clone()
        })
        .collect();
    view
}

/// Widths and heights up to a large screen, each with some of the other, and all of the small ones.
fn sizes() -> impl Iterator<Item = (u16, u16)> {
    let small = (1..=24).flat_map(|width| (1..=12).map(move |height| (width, height)));
    let large = (1..=220).step_by(13).flat_map(|width| (1..=65).step_by(4).map(move |height| (width, height)));
    small.chain(large)
}

#[test]
fn no_size_and_no_content_is_too_much() {
    let mut empty = made_up_watch::view();
    empty.processes.clear();
    empty.headline.clear();
    empty.events.clear();
    let views = [empty, made_up_watch::view(), strange()];
    for (at, view) in views.iter().enumerate() {
        let mut state = LiveState::default();
        let keys = [Key::Down, Key::Char('o'), Key::Tab, Key::Right, Key::Char('?'), Key::Char('?'), Key::Char('p')];
        for (step, size) in sizes().enumerate() {
            state.key(keys[step % keys.len()], view);
            let cells = screen(view, &state, size, Look { colour: true, ..PLAIN });
            for cell in cells.buffer().content() {
                assert!(!cell.symbol().contains(char::is_control), "view {at} at {size:?}: {:?}", cell.symbol());
            }
        }
    }
}

#[test]
fn the_selected_of_many_processes_is_in_sight_and_the_rest_is_told() {
    let view = strange();
    let mut state = LiveState::default();
    for at in 0..60 {
        state.key(Key::Down, &view);
        let text = text(&screen(&view, &state, (80, 24), PLAIN));
        assert!(text.contains('▸'), "step {at}:\n{text}");
        assert!(text.contains(" below; "), "step {at}:\n{text}");
    }
}

#[test]
fn a_pause_is_told_with_its_age() {
    let mut view = made_up_watch::view();
    let mut state = LiveState::default();
    state.key(Key::Char('p'), &view);
    view.elapsed_ms += 65_000;
    view.verdict = Verdict::Bounded;
    let text = text(&screen(&view, &state, (80, 24), PLAIN));
    assert!(text.starts_with("leaking: "), "{text}");
    assert!(text.contains("PAUSED 1 min 5 s ago, watching goes on, now bounded"), "{text}");
}

#[test]
fn a_process_without_the_recorder_has_its_chart_on_a_small_screen() {
    let view = made_up_watch::view();
    let mut state = LiveState::default();
    state.key(Key::Down, &view);
    let text = text(&screen(&view, &state, (60, 15), PLAIN));
    assert!(text.contains("heap of worker 4712") && text.contains("they need the"), "{text}");
}

#[test]
fn remarks_without_room_are_counted() {
    let mut view = made_up_watch::view();
    view.processes[0].remarks = (0..9).map(|at| format!("remark {at}")).collect();
    let text = text(&screen(&view, &LiveState::default(), (80, 40), PLAIN));
    assert!(text.contains("! shop 4711: remark 1\n! (3 of 9) shop 4711: remark 2\n"), "{text}");
}

#[test]
fn messages_last_until_the_next_key() {
    let view = made_up_watch::view();
    let mut state = LiveState::default();
    state.tell("asked for a snapshot of 1 process");
    let shown = |state: &LiveState| {
        text(&screen(&view, state, (80, 24), PLAIN)).contains("\nasked for a snapshot of 1 process · ")
    };
    assert!(shown(&state));
    state.key(Key::Esc, &view);
    assert!(!shown(&state));
}
