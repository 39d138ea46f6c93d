//! Running one child to its end, within a time limit.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the child printed. An error is what went wrong and the end of what it said of it.
pub(crate) fn output_of(command: &mut Command) -> Result<String, String> {
    output_beside(command, PATIENCE, |_, _| Ok(()))
}

/// The same within another time limit; `beside` is called again and again while the child runs, with its id and the time since its start.
pub(crate) fn output_beside(
    command: &mut Command,
    patience: Duration,
    mut beside: impl FnMut(u32, Duration) -> Result<(), String>,
) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| format!("failed to start: {why}"))?;
    let stdout = child.stdout.take().map(read_in_background);
    let stderr = child.stderr.take().map(read_in_background);
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|why| format!("failed to wait: {why}"))? {
            break Ok(status);
        }
        if let Err(why) = beside(child.id(), began.elapsed()) {
            // As below.
            let _ = child.kill();
            let _ = child.wait();
            break Err(why);
        }
        if began.elapsed() > patience {
            // It may have ended just now; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
            break Err(format!("took more than {} s", patience.as_secs()));
        }
        thread::sleep(Duration::from_millis(10));
    };
    let text = |reader: Option<thread::JoinHandle<String>>| reader.and_then(|r| r.join().ok()).unwrap_or_default();
    let (stdout, stderr) = (text(stdout), text(stderr));
    let last = stderr.lines().last().unwrap_or_default();
    match status? {
        status if status.success() => Ok(stdout),
        status => Err(format!("{status}: {last}")),
    }
}

fn read_in_background(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A broken pipe ends the text.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
