//! Compiles the two libraries that the workload `dlopen` loads and unloads, and passes on for which system it is all
//! built.
//!
//! It calls the C compiler that linking a Rust program needs anyway. The two differ in the size of their frames, so
//! that one loaded where the other was has other unwind rules at the same addresses.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rustc-env=SUITE_TARGET={}", env::var("TARGET").expect("cargo says for what"));
    let source = "src/workload/plugin.c";
    println!("cargo::rerun-if-changed={source}");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where"));
    for (name, frame_bytes) in [("small_frames.so", 24), ("large_frames.so", 520)] {
        let status = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()))
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .arg(folder.join(name))
            .arg(format!("-DFRAME_BYTES={frame_bytes}"))
            .arg(source)
            .status()
            .expect("the C compiler starts");
        assert!(status.success(), "failed to compile {source}");
    }
}
