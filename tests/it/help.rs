//! Help, completions and manual pages: what they promise is there, and every example in them runs.

use crate::command::{Folder, command, line};
use crate::recorded::Recorded;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

const VERBS: [&str; 7] = ["run", "watch", "check", "diff", "plot", "completions", "man"];

/// The lines below `Examples:`.
fn examples(help: &str) -> Vec<String> {
    let after = help.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("no examples in {help}"));
    after.lines().map(|line| line.trim().to_owned()).take_while(|line| !line.is_empty()).collect()
}

#[test]
fn every_example_in_the_help_runs() {
    let mut lines = examples(&line(&Folder::new(), "--help").stdout);
    for verb in VERBS {
        lines.extend(examples(&line(&Folder::new(), &format!("{verb} --help")).stdout));
    }
    assert!(lines.len() >= 14, "{lines:?}");
    for example in lines {
        let folder = Folder::new();
        prepare(&folder);
        let mut watched = Watched::start(&folder);
        let example = watched.in_example(&example);
        let binary = std::path::Path::new(env!("CARGO_BIN_EXE_leakcheck")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        let ended = Command::new("sh")
            .args(["-c", &example])
            .current_dir(folder.path())
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(matches!(ended.status.code(), Some(0 | 1)), "{example}: {:?} {stderr}", ended.status);
    }
}

/// The running programs that examples of `watch` speak of.
struct Watched(Vec<Child>);

impl Watched {
    fn start(folder: &Folder) -> Self {
        let start = |name: &str| {
            fs::copy("/bin/sleep", folder.join(name)).unwrap();
            Command::new(folder.join(name)).arg("600").spawn().unwrap()
        };
        Self(["gunicorn", "shop-1"].into_iter().map(start).collect())
    }

    /// The same with a process that is there, for a moment only.
    fn in_example(&mut self, example: &str) -> String {
        if !example.contains(" watch ") {
            return example.to_owned();
        }
        let example = example.replace("4711", &self.0[0].id().to_string()).replace("--for 10m", "");
        format!("{example} --for 300ms")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What the examples speak of: a program that records, and its snapshots.
fn prepare(folder: &Folder) {
    let recorded = Recorded { snapshots: 60, sites: Recorded::flat().sites, ..Recorded::default() };
    let files = recorded.write(&folder.join("soak"));
    recorded.write(&folder.join("leakcheck-out/shop-20260131-120000"));
    recorded.write(&folder.join("leakcheck-out/main"));
    fs::write(folder.join("leaks.txt"), "leak:shop::words::Interner\n").unwrap();
    fs::copy(&files[0], folder.join("before.json")).unwrap();
    fs::copy(&files[59], folder.join("after.json")).unwrap();
    let script = format!(
        "#!/bin/sh\ncp {}/leakcheck-* \"$LEAKCHECK_OUT\"\n",
        folder.join("leakcheck-out/shop-20260131-120000").display()
    );
    fs::create_dir_all(folder.join("target/release")).unwrap();
    for path in ["shop", "target/release/shop"] {
        fs::write(folder.join(path), &script).unwrap();
        fs::set_permissions(folder.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn help_names_the_exit_codes_and_every_option_is_explained() {
    let folder = Folder::new();
    for help in ["--help", "-h"] {
        let said = line(&folder, help);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        for code in
            ["0  nothing is leaking", "1  something is leaking", "2  wrong usage", "3  with --strict or --fail-on"]
        {
            assert!(said.stdout.contains(code), "{code}");
        }
    }
    for verb in VERBS {
        let help = line(&folder, &format!("{verb} --help")).stdout;
        assert!(help.contains("--format <FORMAT>") && help.contains("--color <WHEN>"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}

#[test]
fn completions_know_the_verbs() {
    let folder = Folder::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = line(&folder, &format!("completions {shell}"));
        assert_eq!(said.code, 0);
        for verb in VERBS {
            assert!(said.stdout.contains(verb), "{verb} in {shell}");
        }
    }
    let script = line(&folder, "completions bash").stdout;
    fs::write(folder.join("leakcheck.bash"), script).unwrap();
    if Command::new("bash")
        .args(["-n", "leakcheck.bash"])
        .current_dir(folder.path())
        .status()
        .is_ok_and(|s| !s.success())
    {
        panic!("bash does not accept the script");
    }
}

#[test]
fn manual_pages_are_written() {
    let folder = Folder::new();
    let page = line(&folder, "man").stdout;
    assert!(page.contains(".TH leakcheck 1"), "{page}");
    assert_eq!(line(&folder, "man --out man1/deep").code, 0);
    let names = Folder::names(&folder);
    assert_eq!(names, ["man1"]);
    for verb in VERBS {
        assert!(folder.join(&format!("man1/deep/leakcheck-{verb}.1")).exists(), "{verb}");
    }
}

#[test]
fn wrong_usage_ends_with_two() {
    let folder = Folder::new();
    for arguments in [
        "",
        "check",
        "diff a.json",
        "plot x",
        "run",
        "frobnicate",
        "check x --min-rate fast",
        "check x --warm-up soon",
        "check x --format yaml",
        "check x --fail-on bounded",
        "check x --strict --fail-on leaking",
        "check x --limit 0",
        "check x --limit much",
        "plot x -o a.png --size 5",
        "run --every 1ms -- true",
        "run --mode some -- true",
        "run --mode sampled:0 -- true",
    ] {
        let said = line(&folder, arguments);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{arguments}");
        assert!(!said.stderr.is_empty(), "{arguments}");
    }
    assert!(folder.names().is_empty());
    let version = command(&folder).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("leakcheck {}\n", env!("CARGO_PKG_VERSION")));
}
