//! Recording by environment, before `main`.

use super::{RecorderBuilder, control};
use crate::unwind;

/// Runs from the list of initialisers that the C library goes through before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    unwind::note_permanent_modules();
    // SAFETY: getauxval has no preconditions.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        // A set-user-id program must neither write files nor be woken because its caller's environment says so.
        return;
    }
    control::open();
    let started = RecorderBuilder::from_environment(|name| std::env::var_os(name))
        .and_then(|options| options.map(RecorderBuilder::start).transpose());
    match started {
        Ok(Some(recording)) => recording.until_exit(),
        Ok(None) => {}
        Err(error) => eprintln!("leakcheck: failed to record: {error}; the program runs on, unrecorded"),
    }
}
