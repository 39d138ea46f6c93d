//! Compiles the frames that only C makes, and two libraries for the loader.

fn main() {
    println!("cargo::rerun-if-changed=workloads/frames.c");
    let frame_pointers =
        std::env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("force-frame-pointers=yes"));
    let mut build = cc::Build::new();
    build.file("workloads/frames.c").warnings_into_errors(true).opt_level(2);
    build.flag(if frame_pointers { "-fno-omit-frame-pointer" } else { "-fomit-frame-pointer" });
    build.compile("frames");

    // Of the same size, so that one loaded where the other was has other frames at the same addresses.
    let source = "../../benches/suite/src/workload/plugin.c";
    println!("cargo::rerun-if-changed={source}");
    let folder = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where"));
    for (name, frame_bytes) in [("small_frames.so", 24), ("large_frames.so", 120)] {
        let mut compiler = cc::Build::new().opt_level(2).get_compiler().to_command();
        compiler.args(["-shared", "-fPIC", "-o"]).arg(folder.join(name));
        let status = compiler.arg(format!("-DFRAME_BYTES={frame_bytes}")).arg(source).status();
        assert!(status.expect("the C compiler starts").success(), "failed to compile {source}");
    }
}
