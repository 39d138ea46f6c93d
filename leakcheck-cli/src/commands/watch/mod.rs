//! What `watch` shows itself on: the terminal.

#[expect(dead_code, reason = "for the watch loop, which is to come")]
mod terminal;
