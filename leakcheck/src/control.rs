//! What a watcher and the recorder in another process say to each other. `docs/protocol.md` is the same in prose.
//!
//! One JSON document a line, over a Unix socket. The watcher asks, the recorder answers each request in order. Nothing here
//! opens a socket.

use crate::model::{Mode, Process, Recording};
use serde::{Deserialize, Serialize};

/// The version of the protocol. A recorder refuses requests of a version it does not know, and says which it knows.
pub const VERSION: u32 = 1;
/// Longer requests are refused.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// A watcher that asks nothing for so long is taken to be gone, in milliseconds.
pub const SILENCE_MS_MAX: u64 = 30_000;
/// The folder of sockets, in the user's runtime directory; a temporary directory has one for each user.
pub const FOLDER: &str = "leakcheck";

/// The name of a process's socket in the folder: `pid` as the process itself knows it, and its start in clock ticks since
/// the machine's (field 22 of `/proc/PID/stat`), so that a reused pid has another name.
#[must_use]
pub fn socket_name(pid: u32, started_ticks: u64) -> String {
    format!("{pid}-{started_ticks}.sock")
}

/// The folders that a process of this user may have its socket in, best first. `runtime_dir` is its `XDG_RUNTIME_DIR`.
#[must_use]
pub fn folders(uid: u32, runtime_dir: Option<&str>) -> Vec<String> {
    let given = runtime_dir.filter(|path| path.starts_with('/')).map(|path| format!("{path}/{FOLDER}"));
    let usual = [format!("/run/user/{uid}/{FOLDER}"), format!("/tmp/{FOLDER}-{uid}")];
    let mut folders: Vec<String> = given.into_iter().chain(usual).collect();
    folders.dedup();
    folders
}

/// A line, with the version it is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line<T> {
    /// [`VERSION`].
    pub leakcheck: u32,
    /// What is said.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Line<T> {
    /// A line in this version.
    pub const fn new(body: T) -> Self {
        Self { leakcheck: VERSION, body }
    }
}

/// What a watcher asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Who are you, and what do you do? Answered by [`Reply::State`].
    State,
    /// Begin to record, until this connection ends or asks for [`Request::Sleep`]. Refused while anything records. Answered
    /// by [`Reply::State`].
    Wake {
        /// What part of the allocations.
        mode: Mode,
    },
    /// Answered by [`Reply::Snapshot`], and the snapshot on the next line.
    Snapshot,
    /// Be as you were before [`Request::Wake`]. Answered by [`Reply::State`].
    Sleep,
}

/// What a recorder answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// How it stands.
    State(State),
    /// The next line is a snapshot as in a file.
    Snapshot,
    /// The request cannot be met.
    Refused {
        /// Why, as a fragment.
        why: String,
    },
}

/// How a recorder stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The process it is in, as it sees itself.
    pub process: Process,
    /// What it does.
    pub activity: Activity,
    /// The recording, unless dormant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recording>,
}

/// What a recorder does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It records nothing.
    Dormant,
    /// The program, or its environment, has it record.
    Recording,
    /// A watcher woke it.
    Woken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_the_page_has_them() {
        let check = |request: Request, expected: &str| {
            let text = serde_json::to_string(&Line::new(request)).unwrap();
            assert_eq!(text, expected);
            assert_eq!(serde_json::from_str::<Line<Request>>(&text).unwrap(), Line::new(request));
            let page = include_str!("../../docs/protocol.md");
            assert!(page.contains(expected), "docs/protocol.md lacks {expected}");
        };
        check(Request::State, r#"{"leakcheck":1,"request":"state"}"#);
        let mode = Mode::Sampled { interval_bytes: 524_288 };
        check(
            Request::Wake { mode },
            r#"{"leakcheck":1,"request":"wake","mode":{"kind":"sampled","interval_bytes":524288}}"#,
        );
        check(Request::Snapshot, r#"{"leakcheck":1,"request":"snapshot"}"#);
        check(Request::Sleep, r#"{"leakcheck":1,"request":"sleep"}"#);
        let refused = Line::new(Reply::Refused { why: "no".to_owned() });
        assert_eq!(serde_json::to_string(&refused).unwrap(), r#"{"leakcheck":1,"reply":"refused","why":"no"}"#);
    }

    #[test]
    fn folders_are_the_users() {
        let expected = ["/run/user/7/leakcheck", "/tmp/leakcheck-7"];
        assert_eq!(folders(7, None), expected);
        assert_eq!(folders(7, Some("relative")), expected);
        assert_eq!(folders(7, Some("/run/user/7")), expected);
        assert_eq!(folders(7, Some("/x"))[0], "/x/leakcheck");
        assert_eq!(socket_name(42, 9), "42-9.sock");
    }
}
