//! The terminal while the live view is on it: raw mode and the other screen, given back however the watch ends. Reads
//! keys and writes what changed; it does not know what is drawn.
//!
//! Signals are the loop's: it ends, and what is dropped restores the terminal.

use crate::render::live::{self, Key, LiveState};
use crate::render::text::Look;
use crate::render::watch_view::WatchView;
use crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{cursor, execute, queue, style};
use ratatui::backend::CrosstermBackend;
use ratatui::{TerminalOptions, Viewport};
use std::io::{self, BufWriter, Stdout, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether the terminal is ours, so that it is given back once, by whoever comes first.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal at standard output.
pub(crate) struct Terminal {
    screen: Screen<BufWriter<Stdout>>,
}

/// What the person at the terminal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Key(Key),
    /// The terminal has another size: draw again.
    Resize,
}

impl Terminal {
    /// Takes the terminal over.
    pub(crate) fn take(look: Look) -> io::Result<Self> {
        restore_on_panic();
        enable_raw_mode()?;
        // Relaxed: only tells this thread and its panic hook; nothing else is published by it.
        TAKEN.store(true, Ordering::Relaxed);
        // From here on a failure gives the terminal back.
        let guard = RestoreOnDrop;
        // The choice was made from NO_COLOR and --color already.
        style::force_color_output(look.colour);
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        let screen = Screen::new(BufWriter::with_capacity(1 << 16, io::stdout()), Viewport::Fullscreen, look)?;
        std::mem::forget(guard);
        Ok(Self { screen })
    }

    /// Shows what is known now; writes only what changed.
    pub(crate) fn draw(&mut self, view: &WatchView, state: &LiveState) -> io::Result<()> {
        self.screen.draw(view, state)
    }

    /// Waits for a key or a new size, `timeout` at most.
    pub(crate) fn poll_key(&mut self, timeout: Duration) -> io::Result<Option<Event>> {
        if !event::poll(timeout)? {
            return Ok(None);
        }
        Ok(match event::read()? {
            event::Event::Key(key) => key_of(key).map(Event::Key),
            event::Event::Resize(..) => Some(Event::Resize),
            _ => None,
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

struct RestoreOnDrop;

impl Drop for RestoreOnDrop {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back when it is ours. Nobody can be told when that fails.
fn restore() {
    // Relaxed: see `take`.
    if TAKEN.swap(false, Ordering::Relaxed) {
        let _ = execute!(io::stdout(), EndSynchronizedUpdate, LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// A panic's message would be lost on the other screen.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}

fn key_of(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    Some(match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::CtrlC,
        KeyCode::Char(_) if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Tab => Key::Tab,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        _ => return None,
    })
}

/// The picture on any writer.
struct Screen<W: Write> {
    screen: ratatui::Terminal<CrosstermBackend<W>>,
    look: Look,
}

impl<W: Write> Screen<W> {
    fn new(writer: W, viewport: Viewport, look: Look) -> io::Result<Self> {
        let backend = CrosstermBackend::new(writer);
        Ok(Self { screen: ratatui::Terminal::with_options(backend, TerminalOptions { viewport })?, look })
    }

    /// One picture between the marks of a synchronised update: a terminal that knows them shows it at once.
    fn draw(&mut self, view: &WatchView, state: &LiveState) -> io::Result<()> {
        queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)?;
        let look = self.look;
        self.screen.draw(|frame| live::draw(frame, view, state, look))?;
        execute!(self.screen.backend_mut(), EndSynchronizedUpdate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::made_up_watch;
    use ratatui::layout::Rect;
    use std::cell::Cell;
    use std::rc::Rc;

    /// Counts what is written.
    #[derive(Clone, Default)]
    struct Counted(Rc<Cell<usize>>);

    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.set(self.0.get() + bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_what_changed_is_written() {
        let written = Counted::default();
        let viewport = Viewport::Fixed(Rect::new(0, 0, 80, 24));
        let look = Look { columns: None, colour: true };
        let mut screen = Screen::new(written.clone(), viewport, look).unwrap();
        let mut view = made_up_watch::view();
        let state = LiveState::default();
        let mut draw = |view: &WatchView| {
            written.0.set(0);
            screen.draw(view, &state).unwrap();
            written.0.get()
        };
        let first = draw(&view);
        let same = draw(&view);
        // A second later, with a new sample of each process.
        view.elapsed_ms += 1000;
        for process in &mut view.processes {
            process.resident.rss_bytes += 900_000;
            let mut last = *process.history.last().unwrap();
            last.elapsed_ms += 1000;
            last.rss_bytes += 900_000;
            process.history.push(last);
        }
        let next = draw(&view);
        eprintln!("bytes written: {first} at first, {same} for the same, {next} for the next second");
        assert!(first < 10_000, "{first}");
        assert!(same < 200, "{same}");
        assert!(next < 1500, "{next}");
    }

    #[test]
    fn keys_are_those_of_the_view() {
        let key = |code, modifiers| key_of(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::CtrlC));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Some(Key::Char('c')));
        assert_eq!(key(KeyCode::Char('s'), KeyModifiers::CONTROL), None);
        assert_eq!(key(KeyCode::Char('?'), KeyModifiers::SHIFT), Some(Key::Char('?')));
        assert_eq!(key(KeyCode::Up, KeyModifiers::NONE), Some(Key::Up));
        assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), None);
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(key_of(released), None);
    }
}
