//! What the kernel says of one process, again and again.
//!
//! A sample is three small files. What takes long in a large process (its proportional set size and its mappings, for which
//! the kernel goes through all of them while the process may have to wait) is read so rarely that it takes less than one part
//! in four thousand of the time; in between, the last figure stands.

use crate::error::Error;
use leakcheck::cgroup::ControlGroups;
use leakcheck::model::{Mode, Process, Recording, Resident, Source, Usage};
use procfs::process::{LimitValue, Process as ProcProcess, SmapsRollup, Stat, Status};
use procfs::{FromRead, ProcError};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A dear figure is read again after this many times what it took.
const DEAR_PAUSE: u32 = 8000;
/// And not before this.
const DEAR_PAUSE_MIN: Duration = Duration::from_secs(2);
/// Programs that run what another file says; names begin so.
const INTERPRETERS: [&str; 12] =
    ["python", "pypy", "node", "deno", "bun", "ruby", "perl", "php", "lua", "bash", "dash", "sh"];
/// Limits change rarely.
const GROUPS_PAUSE: Duration = Duration::from_secs(2);

/// What was said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) resident: Resident,
    pub(crate) usage: Usage,
    /// Stopped by a signal, or by a debugger: it answers nothing.
    pub(crate) is_stopped: bool,
}

/// Why a process cannot be watched.
#[derive(Debug)]
pub(crate) enum Unwatchable {
    Gone,
    Zombie,
    OfTheKernel,
    /// The kernel does not let us.
    Forbidden,
    Other(ProcError),
}

impl Unwatchable {
    /// As an error of the command.
    pub(crate) fn of(self, pid: u32) -> Error {
        let what = match self {
            Self::Gone => "there is no such process; `ps -e` lists those there are",
            Self::Zombie => "it has ended already (a zombie: its parent has not asked how); look at its parent",
            Self::OfTheKernel => "it has no memory of its own (a thread of the kernel)",
            Self::Forbidden => {
                "the kernel does not let us look at it: it belongs to another user; run leakcheck as that user, or as root"
            }
            Self::Other(error) => return Error::because(format!("watch pid {pid}"), error),
        };
        Error::new(format!("watch pid {pid}: {what}"))
    }
}

impl From<ProcError> for Unwatchable {
    fn from(error: ProcError) -> Self {
        match error {
            ProcError::NotFound(_) => Self::Gone,
            ProcError::PermissionDenied(_) => Self::Forbidden,
            other => Self::Other(other),
        }
    }
}

/// One process, as the kernel knows it. Another one that gets the same pid is not mistaken for it.
pub(crate) struct ProcessFigures {
    pub(crate) pid: u32,
    /// The pid that the process itself sees, in its own namespace.
    pub(crate) inner_pid: u32,
    /// Start in clock ticks since the machine's.
    pub(crate) started_ticks: u64,
    /// The user whose files it makes.
    pub(crate) uid: u32,
    pub(crate) groups: ControlGroups,
    process: ProcProcess,
    status: File,
    stat: File,
    buffer: Vec<u8>,
    mappings: Dear<u64>,
    pss: Dear<u64>,
    limits: Dear<(Option<u64>, Option<u64>)>,
}

impl ProcessFigures {
    /// Begins to look at a process.
    ///
    /// # Errors
    ///
    /// When there is no such process, it may not be looked at, or it has no memory of its own.
    pub(crate) fn open(pid: u32) -> Result<Self, Unwatchable> {
        let process = i32::try_from(pid).map_err(|_| Unwatchable::Gone).and_then(|pid| Ok(ProcProcess::new(pid)?))?;
        let status = process.open_relative("status")?;
        let stat = process.open_relative("stat")?;
        let now = process.status()?;
        if now.vmrss.is_none() {
            return Err(if now.state.starts_with('Z') { Unwatchable::Zombie } else { Unwatchable::OfTheKernel });
        }
        let started_ticks = process.stat()?.starttime;
        Ok(Self {
            pid,
            inner_pid: now.nspid.as_ref().and_then(|all| all.last()).map_or(pid, |inner| inner.cast_unsigned()),
            started_ticks,
            uid: now.euid,
            groups: ControlGroups::of_process(pid),
            process,
            status,
            stat,
            buffer: Vec::new(),
            mappings: Dear::default(),
            pss: Dear::default(),
            limits: Dear::default(),
        })
    }

    /// The figures now; nothing when the process has ended.
    pub(crate) fn sample(&mut self) -> Option<Figures> {
        let status = Status::from_read(read_again(&mut self.status, &mut self.buffer)?).ok()?;
        // A zombie has no memory any more.
        status.vmrss?;
        let stat = Stat::from_read(read_again(&mut self.stat, &mut self.buffer)?).ok()?;
        let process = &self.process;
        let (pid, groups) = (self.pid, &mut self.groups);
        let limits = self.limits.get(GROUPS_PAUSE, || {
            // It may have been moved into others.
            *groups = ControlGroups::of_process(pid);
            Some((groups.limit_bytes(), soft_descriptor_limit(process)))
        });
        let (limit_bytes, descriptors_limit) = limits.unwrap_or_default();
        let buffer = &mut self.buffer;
        let pss = self.pss.get(DEAR_PAUSE_MIN, || {
            let mut file = process.open_relative("smaps_rollup").ok()?;
            buffer.clear();
            file.read_to_end(buffer).ok()?;
            let rollup = SmapsRollup::from_read(buffer.as_slice()).ok()?;
            rollup.memory_map_rollup.0.first()?.extension.map.get("Pss").copied()
        });
        let mappings = self.mappings.get(DEAR_PAUSE_MIN, || {
            let mut file = process.open_relative("maps").ok()?;
            buffer.clear();
            file.read_to_end(buffer).ok()?;
            let lines = buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
            // A process that has just ended has none.
            (lines > 0).then_some(lines)
        });
        let ticks_per_s = procfs::ticks_per_second().max(1);
        let usage = Usage {
            file_descriptors: process.fd_count().ok().map(|count| count as u64),
            file_descriptors_limit: descriptors_limit,
            mappings,
            pss_bytes: pss,
            cpu_ms: Some((stat.utime + stat.stime) * 1000 / ticks_per_s),
            minor_faults: Some(stat.minflt),
            major_faults: Some(stat.majflt),
            group_bytes: self.groups.used_bytes(),
            pressure_permille: self.groups.pressure_permille(),
        };
        let is_stopped = status.state.starts_with(['T', 't']);
        Some(Figures { resident: Resident { limit_bytes, ..resident_of_status(&status) }, usage, is_stopped })
    }

    /// Which process this is, as it is now: another program may have taken its place (`exec`).
    pub(crate) fn identity(&self) -> Process {
        let boot_ms = procfs::boot_time_secs().unwrap_or(0) * 1000;
        let started_unix_ms = boot_ms + self.started_ticks * 1000 / procfs::ticks_per_second().max(1);
        Process {
            pid: self.pid,
            started_unix_ms,
            // A process may call itself what it likes; terminals obey what is not printable.
            executable: self.program().replace(char::is_control, "\u{fffd}"),
            build_id: None,
            host: fs::read_to_string("/proc/sys/kernel/hostname")
                .map_or_else(|_| String::new(), |s| s.trim().to_owned()),
            parent_pid: self.process.stat().ok().and_then(|stat| u32::try_from(stat.ppid).ok()),
        }
    }

    /// The path of the file that runs; nothing where it cannot be read.
    pub(crate) fn executable(&self) -> Option<PathBuf> {
        executable_of(&self.process)
    }

    /// The program as it is told apart from others: its path; of an interpreter with the script behind it; of a file that
    /// is several programs, by the name it was called by; where nothing of it can be read, its short name.
    fn program(&self) -> String {
        let arguments = self.process.cmdline().unwrap_or_default();
        let Some(executable) = self.executable() else {
            let called = arguments.into_iter().next().or_else(|| self.process.stat().ok().map(|stat| stat.comm));
            return called.unwrap_or_default();
        };
        let shown = executable.to_string_lossy();
        let file_name = |path: &Path| path.file_name().map_or_else(OsString::new, std::ffi::OsStr::to_owned);
        let is_interpreter = INTERPRETERS.iter().any(|name| file_name(&executable).to_string_lossy().starts_with(name));
        let script = arguments.iter().skip(1).find(|argument| !argument.starts_with('-')).filter(|_| is_interpreter);
        if let Some(script) = script
            && self.process.cwd().is_ok_and(|folder| folder.join(script).is_file())
        {
            return format!("{shown} {script}");
        }
        // Some write more into it: `redis-server *:6379`.
        let called = arguments.first().and_then(|name| name.split_whitespace().next());
        let called = called.map(|name| executable.with_file_name(file_name(Path::new(name))));
        match called.filter(|called| called.canonicalize().is_ok_and(|path| path == executable)) {
            Some(called) => called.to_string_lossy().into_owned(),
            None => shown.into_owned(),
        }
    }

    /// How long ago it was started.
    pub(crate) fn age(&self) -> Duration {
        let ticks = ticks_now().saturating_sub(self.started_ticks);
        Duration::from_millis(ticks * 1000 / procfs::ticks_per_second().max(1))
    }

    /// Whether the kernel keeps figures from us that it would give to the process's user.
    pub(crate) fn is_restricted(&self) -> bool {
        matches!(self.process.open_relative("smaps_rollup"), Err(ProcError::PermissionDenied(_)))
    }

    /// `XDG_RUNTIME_DIR` of the process, where its environment can be read.
    pub(crate) fn runtime_dir(&self) -> Option<String> {
        let environment = self.process.environ().ok()?;
        environment.get(std::ffi::OsStr::new("XDG_RUNTIME_DIR"))?.to_str().map(str::to_owned)
    }
}

/// The path of the file that runs in a process.
pub(super) fn executable_of(process: &ProcProcess) -> Option<PathBuf> {
    let path = process.exe().ok()?;
    // Replaced while it runs, as an update does.
    Some(path.to_string_lossy().strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

/// Resident bytes of this process.
pub(crate) fn own_rss_bytes() -> u64 {
    let pages = ProcProcess::myself().and_then(|own| own.statm()).map_or(0, |statm| statm.resident);
    pages * procfs::page_size()
}

/// The time since the machine's start, in the clock ticks that starts of processes are told in.
pub(crate) fn ticks_now() -> u64 {
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let ticks_per_s = procfs::ticks_per_second().max(1);
    since_boot.tv_sec.cast_unsigned() * ticks_per_s + since_boot.tv_nsec.cast_unsigned() * ticks_per_s / 1_000_000_000
}

/// The recording that samples from outside are.
pub(crate) fn recording_from_outside(started_unix_ms: u64, every_ms: u64) -> Recording {
    Recording {
        leakcheck_version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: Mode::Exact,
        started_unix_ms,
        every_ms,
        source: Source::Kernel,
        predating_bytes: None,
    }
}

fn read_again<'a>(file: &mut File, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_end(buffer).ok()?;
    Some(buffer)
}

fn soft_descriptor_limit(process: &ProcProcess) -> Option<u64> {
    match process.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(most) => Some(most),
        LimitValue::Unlimited => None,
    }
}

/// The split of resident memory in `/proc/PID/status`.
pub(crate) fn resident_of_status(status: &Status) -> Resident {
    let bytes = |kib: Option<u64>| kib.map(|kib| kib * 1024);
    Resident {
        rss_bytes: bytes(status.vmrss).unwrap_or(0),
        anonymous_bytes: bytes(status.rssanon),
        file_bytes: bytes(status.rssfile),
        shared_bytes: bytes(status.rssshmem),
        swap_bytes: bytes(status.vmswap),
        virtual_bytes: bytes(status.vmsize),
        stack_bytes: bytes(status.vmstk),
        peak_rss_bytes: bytes(status.vmhwm),
        threads: Some(status.threads),
        ..Resident::default()
    }
}

/// A figure that is dear to get.
#[derive(Debug)]
struct Dear<T> {
    last: Option<T>,
    next: Option<Instant>,
}

impl<T> Default for Dear<T> {
    fn default() -> Self {
        Self { last: None, next: None }
    }
}

impl<T: Copy> Dear<T> {
    /// The figure, read anew when it is old enough for what it takes.
    fn get(&mut self, pause_min: Duration, read: impl FnOnce() -> Option<T>) -> Option<T> {
        let began = Instant::now();
        if self.next.is_none_or(|next| began >= next) {
            self.last = read().or(self.last);
            self.next = Some(began + pause_min.max(began.elapsed() * DEAR_PAUSE));
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_figures_are_known() {
        let mut own = ProcessFigures::open(std::process::id()).unwrap();
        let first = own.sample().unwrap();
        let resident = first.resident;
        assert!(resident.rss_bytes > 100 << 10 && resident.anonymous_bytes.unwrap() > 0);
        assert!(resident.threads.unwrap() >= 1);
        let usage = first.usage;
        assert!(usage.file_descriptors.unwrap() >= 3 && usage.file_descriptors_limit.unwrap() > 3, "{usage:?}");
        assert!(usage.mappings.unwrap() > 5 && usage.pss_bytes.unwrap() > 100 << 10, "{usage:?}");
        assert!(usage.minor_faults.unwrap() > 0 && usage.major_faults.is_some() && usage.cpu_ms.is_some());
        let files: Vec<File> = (0..100).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        let more = own.sample().unwrap().usage.file_descriptors.unwrap();
        assert!(more > usage.file_descriptors.unwrap() + 50, "100 more are open, while other tests close some");
        drop(files);
        let identity = own.identity();
        assert_eq!(identity.executable, std::env::current_exe().unwrap().to_string_lossy());
        assert_eq!(identity.parent_pid, Some(std::os::unix::process::parent_id()));
        assert!(!own.is_restricted());
    }

    #[test]
    fn an_ended_process_gives_nothing_whoever_has_its_pid() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let mut figures = ProcessFigures::open(child.id()).unwrap();
        assert!(figures.sample().is_some());
        child.kill().unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        while figures.sample().is_some() {
            assert!(Instant::now() < until, "a zombie is not alive");
            std::thread::yield_now();
        }
        let zombie = ProcessFigures::open(child.id()).err().unwrap().of(child.id()).chain();
        assert!(zombie.contains("a zombie"), "{zombie}");
        child.wait().unwrap();
        assert!(figures.sample().is_none());
        let gone = ProcessFigures::open(child.id()).err().unwrap().of(child.id()).chain();
        assert!(gone.contains("there is no such process"), "{gone}");
        assert!(ProcessFigures::open(u32::MAX).is_err());
    }

    #[test]
    fn dear_figures_are_read_rarely() {
        let mut dear = Dear::default();
        let slow = || {
            std::thread::sleep(Duration::from_millis(2));
            Some(1)
        };
        assert_eq!(dear.get(Duration::ZERO, slow), Some(1));
        assert_eq!(dear.get(Duration::ZERO, || panic!("2 ms are paid for with 16 s")), Some(1));
        let mut cheap = Dear::default();
        assert_eq!((cheap.get(Duration::ZERO, || Some(1)), cheap.last), (Some(1), Some(1)));
    }
}
