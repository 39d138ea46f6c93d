//! The control socket of a program that was not asked to record: found, woken, asked, put back, and never in the way.
//!
//! Each test runs this very program again with `CHILD` naming what the child is to do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use leakcheck::control::{self, Activity, Line, Reply, Request, State};
use leakcheck::format;
use leakcheck::model::{Mode, Snapshot};
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();

#[inline(never)]
fn kept_by_the_child(bytes: usize) -> Vec<u8> {
    black_box(vec![7_u8; black_box(bytes)])
}

/// What the child does; a test that does nothing when it is not one.
#[test]
fn child_entry() {
    let Ok(what) = std::env::var("CHILD") else { return };
    let mut kept = vec![kept_by_the_child(3 << 20)];
    match what.as_str() {
        "grow" => loop {
            kept.push(kept_by_the_child(1000));
            thread::sleep(Duration::from_millis(1));
        },
        "record when told" => {
            std::io::stdin().read_exact(&mut [0]).unwrap();
            let recording = leakcheck::Recorder::builder().exact().every(Duration::ZERO).start().unwrap();
            kept.push(kept_by_the_child(1000));
            println!("recording");
            std::io::stdin().read_exact(&mut [0]).unwrap();
            println!("live {}", recording.finish().unwrap().totals.live().bytes >= 1000);
        }
        "daemon" => {
            // As programs do that become daemons: all numbers are closed, and used again.
            std::io::stdin().read_exact(&mut [0]).unwrap();
            // SAFETY: nothing here uses the descriptors above 2.
            unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
            let own = std::os::unix::net::UnixListener::bind(std::env::var("OWN_SOCKET").unwrap()).unwrap();
            let descriptors: Vec<_> = (0..600).map(|_| own.try_clone().unwrap()).collect();
            let (mut peer, _) = own.accept().unwrap();
            peer.write_all(b"served by the program").unwrap();
            drop(descriptors);
        }
        other => panic!("unknown child {other}"),
    }
}

/// A runtime directory of its own and a process in it; both are gone when it is dropped.
struct Watched {
    folder: PathBuf,
    child: Child,
}

impl Watched {
    fn start(what: &str, change: impl FnOnce(&mut Command)) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only the number counts. A short path: a socket's has 107 bytes at most.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("lc-ctl-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child_entry", "--exact", "--nocapture", "--test-threads=1"]);
        command.env("CHILD", what).env("XDG_RUNTIME_DIR", &folder).env_remove("LEAKCHECK");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        change(&mut command);
        let child = command.spawn().unwrap();
        Self { folder, child }
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.join(control::FOLDER)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn connect(&self) -> Watcher {
        let pid = self.child.id();
        Watcher::connect(&self.folder, pid)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Watcher {
    stream: BufReader<UnixStream>,
}

impl Watcher {
    fn connect(folder: &Path, pid: u32) -> Self {
        let prefix = format!("{pid}-");
        let stream = until(|| {
            let mut entries = fs::read_dir(folder.join(control::FOLDER)).ok()?;
            let socket = entries.find(|entry| {
                entry.as_ref().is_ok_and(|entry| entry.file_name().to_str().unwrap().starts_with(&prefix))
            })?;
            UnixStream::connect(socket.unwrap().path()).ok()
        });
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    fn say(&mut self, text: &str) -> Reply {
        self.stream.get_mut().write_all(format!("{text}\n").as_bytes()).unwrap();
        let line = self.line();
        serde_json::from_str::<Line<Reply>>(&line).unwrap_or_else(|e| panic!("{e}: {line}")).body
    }

    fn ask(&mut self, request: Request) -> Reply {
        self.say(&serde_json::to_string(&Line::new(request)).unwrap())
    }

    fn state(&mut self, request: Request) -> State {
        match self.ask(request) {
            Reply::State(state) => state,
            other => panic!("{other:?}"),
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        assert_eq!(self.ask(Request::Snapshot), Reply::Snapshot);
        format::from_json(self.line().as_bytes()).unwrap()
    }

    fn wake(&mut self) -> State {
        self.state(Request::Wake { mode: Mode::Exact })
    }
}

/// The first thing that is there within a minute.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Live bytes of the blocks that the child keeps, told by their size: names are the watcher's to look up.
fn kept_bytes(snapshot: &Snapshot) -> u64 {
    assert!(snapshot.frames.iter().all(|frame| frame.functions.is_empty()), "no names are looked up in the process");
    let ours =
        |site: &&leakcheck::model::Site| site.size.is_some_and(|size| (size.smallest, size.largest) == (1000, 1000));
    snapshot.sites.iter().filter(ours).map(|site| site.counters.live().bytes).sum()
}

#[test]
fn a_dormant_program_is_woken_asked_and_put_back() {
    let began = Instant::now();
    let watched = Watched::start("grow", |_| {});
    let mut watcher = watched.connect();
    assert_eq!(fs::metadata(&watched.sockets()[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let before = watcher.state(Request::State);
    assert_eq!((before.activity, before.recording), (Activity::Dormant, None));
    assert_eq!(before.process.pid, watched.child.id());
    assert!(matches!(watcher.ask(Request::Snapshot), Reply::Refused { why } if why.contains("no recording runs")));

    // Until the child holds what is to predate the waking.
    until(|| {
        let status = fs::read_to_string(format!("/proc/{}/status", watched.child.id())).unwrap();
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        (anonymous.trim().split(' ').next()?.parse::<u64>().ok()? >= 3 << 10).then_some(())
    });
    let woken = watcher.wake();
    assert_eq!(woken.activity, Activity::Woken);
    let recording = woken.recording.unwrap();
    let predating = recording.predating_bytes.unwrap();
    assert!((3 << 20..30 << 20).contains(&predating), "3 MiB were kept before: {predating}");
    assert!(matches!(watcher.ask(Request::Wake { mode: Mode::Exact }), Reply::Refused { .. }), "it records already");
    let first = watcher.snapshot();
    let second =
        until(|| Some(watcher.snapshot()).filter(|snapshot| kept_bytes(snapshot) >= kept_bytes(&first) + 20_000));
    assert!(second.sequence > first.sequence && kept_bytes(&second) < 3 << 20, "what came before is not counted");

    let asleep = watcher.state(Request::Sleep);
    assert_eq!((asleep.activity, asleep.recording), (Activity::Dormant, None));
    let again = watcher.wake();
    assert!(again.recording.unwrap().started_unix_ms > recording.started_unix_ms, "it is another recording");
    let (known, at_most) = (kept_bytes(&watcher.snapshot()), began.elapsed().as_millis() as u64 * 1000);
    assert!((kept_bytes(&second)..at_most).contains(&known), "each block once: {known}, at most {at_most}");
}

#[test]
fn a_watcher_that_is_gone_leaves_the_program_dormant() {
    let watched = Watched::start("grow", |_| {});
    let mut watcher = watched.connect();
    watcher.wake();
    let mut onlooker = watched.connect();
    assert_eq!(onlooker.state(Request::State).activity, Activity::Woken);
    assert!(kept_bytes(&until(|| Some(onlooker.snapshot()).filter(|one| kept_bytes(one) > 0))) > 0);
    // As a kill would: no farewell.
    drop(watcher);
    until(|| (onlooker.state(Request::State).activity == Activity::Dormant).then_some(()));
}

#[test]
fn the_programs_own_recording_goes_before() {
    let mut watched = Watched::start("record when told", |_| {});
    let mut watcher = watched.connect();
    watcher.wake();
    watched.child.stdin.as_mut().unwrap().write_all(b"1").unwrap();
    let mut output = BufReader::new(watched.child.stdout.take().unwrap());
    let mut said = |expected: &str| {
        until(|| {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            line.contains(expected).then_some(())
        });
    };
    said("recording");
    assert_eq!(watcher.state(Request::State).activity, Activity::Recording);
    assert!(kept_bytes(&watcher.snapshot()) >= 1000);
    assert_eq!(watcher.state(Request::Sleep).activity, Activity::Recording, "it is not the watcher's to end");
    drop(watcher);
    watched.child.stdin.as_mut().unwrap().write_all(b"1").unwrap();
    said("live true");
}

#[test]
fn snapshots_for_a_watcher_are_not_in_the_programs_folder() {
    let out = std::env::temp_dir().join(format!("lc-ctl-out-{}", std::process::id()));
    let watched = Watched::start("grow", |command| {
        command.env("LEAKCHECK", "exact").env("LEAKCHECK_OUT", &out).env("LEAKCHECK_EVERY", "0");
    });
    let mut watcher = watched.connect();
    assert_eq!(watcher.state(Request::State).activity, Activity::Recording);
    assert!(!watcher.snapshot().timeline.is_empty() || !watcher.snapshot().sites.is_empty());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    fs::remove_dir_all(&out).unwrap();
}

#[test]
fn garbage_is_refused_and_the_program_goes_on() {
    let watched = Watched::start("grow", |_| {});
    let mut watcher = watched.connect();
    for (line, expected) in [
        ("", "not understood"),
        ("GET / HTTP/1.1", "not understood"),
        (r#"{"leakcheck":9,"request":"state"}"#, "version 9"),
        (r#"{"leakcheck":1,"request":"wake","mode":{"kind":"psychic"}}"#, "psychic"),
    ] {
        let reply = watcher.say(line);
        assert!(matches!(&reply, Reply::Refused { why } if why.contains(expected)), "{line}: {reply:?}");
    }
    // Longer than a request may be, without an end.
    let mut endless = watched.connect();
    let sent = endless.stream.get_mut().write_all(&[b'x'; 5000]);
    let mut rest = String::new();
    // Cut off: either end may notice first.
    let read = endless.stream.read_to_string(&mut rest);
    assert!(sent.is_err() || read.is_err() || rest.contains("longer than 4096"), "{rest}");
    // More than are served at a time: those beyond are closed, the others answered.
    let crowd: Vec<Watcher> = (0..20).map(|_| watched.connect()).collect();
    assert_eq!(watcher.state(Request::State).activity, Activity::Dormant);
    drop(crowd);
    assert_eq!(watcher.wake().activity, Activity::Woken);
}

#[test]
fn a_watcher_that_reads_nothing_does_not_hold_the_others_up_for_long() {
    let watched = Watched::start("grow", |_| {});
    let mut watcher = watched.connect();
    watcher.wake();
    let mut deaf = watched.connect();
    let requests = format!("{}\n", serde_json::to_string(&Line::new(Request::Snapshot)).unwrap()).repeat(50);
    for _ in 0..40 {
        // Its answers fill the buffers until it is cut off, and then this fails.
        if deaf.stream.get_mut().write_all(requests.as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(watcher.state(Request::State).activity, Activity::Woken);
}

#[test]
fn the_environment_can_say_no() {
    let watched = Watched::start("grow", |command| {
        command.env("LEAKCHECK_SOCKET", "off");
    });
    // The thread is started before `main`, so the test's own thread tells that there would be a socket by now.
    until(|| {
        fs::read_dir(format!("/proc/{}/task", watched.child.id())).is_ok_and(|all| all.count() >= 2).then_some(())
    });
    assert_eq!(watched.sockets().len(), 0);
}

#[test]
fn a_dormant_socket_costs_one_thread() {
    let watched = Watched::start("grow", |_| {});
    // An answer tells that the thread is there.
    assert_eq!(watched.connect().state(Request::State).activity, Activity::Dormant);
    let name = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    let tasks = fs::read_dir(format!("/proc/{}/task", watched.child.id())).unwrap().map(Result::unwrap);
    assert_eq!(tasks.filter(|task| name(task).trim() == "leakcheck-ctl").count(), 1);
}

#[test]
fn the_socket_goes_with_the_program_and_a_stale_one_is_replaced() {
    let mut watched = Watched::start("record when told", |_| {});
    drop(watched.connect());
    let socket = watched.sockets()[0].clone();
    watched.child.stdin.as_mut().unwrap().write_all(b"12").unwrap();
    watched.child.wait().unwrap();
    assert!(!socket.exists(), "a program that ends takes it away");

    let mut watched = Watched::start("grow", |_| {});
    drop(watched.connect());
    let socket = watched.sockets()[0].clone();
    watched.child.kill().unwrap();
    watched.child.wait().unwrap();
    assert!(UnixStream::connect(&socket).is_err(), "one that was killed leaves it, and nobody answers there");
}

#[test]
fn a_folder_that_others_can_enter_is_not_used() {
    let watched = Watched::start("grow", |command| {
        let runtime = command.get_envs().find(|(name, _)| *name == "XDG_RUNTIME_DIR").unwrap().1.unwrap().to_owned();
        let folder = Path::new(&runtime).join(control::FOLDER);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    });
    until(|| {
        fs::read_dir(format!("/proc/{}/task", watched.child.id())).is_ok_and(|all| all.count() >= 3).then_some(())
    });
    assert_eq!(watched.sockets().len(), 0);
}

#[test]
fn a_program_that_closes_all_descriptors_keeps_its_own() {
    let mut watched = Watched::start("daemon", |command| {
        let runtime = command.get_envs().find(|(name, _)| *name == "XDG_RUNTIME_DIR").unwrap().1.unwrap().to_owned();
        command.env("OWN_SOCKET", Path::new(&runtime).join("own.sock"));
    });
    // A watcher that is connected when it happens.
    let mut watcher = watched.connect();
    assert_eq!(watcher.state(Request::State).activity, Activity::Dormant);
    watched.child.stdin.as_mut().unwrap().write_all(b"1").unwrap();
    let own = watched.folder.join("own.sock");
    until(|| own.exists().then_some(()));
    // Wakes our thread, which must not take the program's connection.
    // It may have noticed by itself, and have taken its socket away.
    let _ = watched.sockets().first().map(UnixStream::connect);
    let mut said = String::new();
    let mut stream = until(|| UnixStream::connect(&own).ok());
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "served by the program");
    assert_eq!(watched.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_program_without_standard_input_does_not_find_a_socket_there() {
    use std::os::unix::process::CommandExt;
    let watched = Watched::start("grow", |command| {
        // SAFETY: close is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::close(0);
                Ok(())
            });
        }
    });
    drop(watched.connect());
    let names = fs::read_dir(format!("/proc/{}/fd", watched.child.id())).unwrap();
    let sockets = names.map(Result::unwrap).filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    });
    let lowest = sockets.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).min();
    assert!(lowest.is_some_and(|lowest| lowest >= 100), "{lowest:?}");
}
