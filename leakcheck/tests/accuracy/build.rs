//! Compiles the frames that only C makes.

fn main() {
    println!("cargo::rerun-if-changed=workloads/frames.c");
    let frame_pointers =
        std::env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("force-frame-pointers=yes"));
    let mut build = cc::Build::new();
    build.file("workloads/frames.c").warnings_into_errors(true).opt_level(2);
    build.flag(if frame_pointers { "-fno-omit-frame-pointer" } else { "-fomit-frame-pointer" });
    build.compile("frames");
}
