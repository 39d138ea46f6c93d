//! `leakcheck plot`.

use crate::command::{Folder, line};
use crate::recorded::{Recorded, site};
use std::collections::HashMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;

/// A decoded picture.
struct Pixels {
    size: (u32, u32),
    counts: HashMap<[u8; 3], usize>,
}

fn decode(path: &Path) -> Pixels {
    let mut reader = png::Decoder::new(Cursor::new(fs::read(path).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    assert_eq!(frame.color_type, png::ColorType::Rgb);
    let mut counts = HashMap::new();
    for pixel in bytes[..frame.buffer_size()].as_chunks::<3>().0 {
        *counts.entry(*pixel).or_default() += 1;
    }
    Pixels { size: (frame.width, frame.height), counts }
}

impl Pixels {
    /// How many pixels are near this colour; areas are drawn a little lighter over white.
    fn near(&self, colour: [u8; 3]) -> usize {
        let near = |pixel: &[u8; 3]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= 8);
        self.counts.iter().filter(|(pixel, _)| near(pixel)).map(|(_, count)| count).sum()
    }
}

// Areas, mixed with white as `draw.rs` does.
const WORST: [u8; 3] = [0xdc, 0x5f, 0x58];
const SECOND: [u8; 3] = [0xf2, 0xa8, 0x59];
const REST: [u8; 3] = [0xd1, 0xd5, 0xdc];
const FIRST_BOUNDED: [u8; 3] = [0x56, 0x8f, 0xcc];

#[test]
fn the_leaking_sites_have_their_colours() {
    let folder = Folder::new();
    Recorded::leaking().write(&folder.join("soak"));
    let said = line(&folder, "plot soak -o heap.png");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.starts_with("leaking: 3 sites"), "{}", said.stdout);
    assert!(said.stdout.ends_with("heap over time: heap.png\n"), "{}", said.stdout);
    let picture = decode(&folder.join("heap.png"));
    assert_eq!(picture.size, (1200, 700));
    let [worst, second, rest] = [WORST, SECOND, REST].map(|colour| picture.near(colour));
    assert!(worst > 2 * second && second > 5_000 && rest > 5_000, "{worst} {second} {rest}");
}

#[test]
fn a_flat_heap_is_not_drawn_in_the_colours_of_a_leak() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("soak"));
    assert_eq!(line(&folder, "plot soak -o heap.png --size 800x500").code, 0);
    let picture = decode(&folder.join("heap.png"));
    assert_eq!(picture.size, (800, 500));
    assert_eq!(picture.near(WORST), 0);
    assert!(picture.near(FIRST_BOUNDED) > 20_000);
}

#[test]
fn svg_has_title_sites_units_and_checkpoints() {
    let folder = Folder::new();
    let mut recorded = Recorded::leaking();
    recorded.sites[1].stack[2].0 = "shop::<&>::größe".to_owned();
    recorded.checkpoints = vec![(20, "load doubled".to_owned())];
    recorded.write(&folder.join("soak"));
    let said = line(&folder, "plot soak -o heap.SVG");
    assert_eq!(said.code, 0, "{said:?}");
    let svg = fs::read_to_string(folder.join("heap.SVG")).unwrap();
    for text in [
        "shop: leaking at 3 sites, 1.16 MiB/s",
        "pid 4711 on web-1: 60 snapshots over 59.0 s, every block recorded",
        "shop::cache::remember",
        "src/cache.rs:31",
        "größe",
        "other sites",
        "resident memory (RSS)",
        "load doubled",
        "memory, MiB",
        "time since the recording began, s",
    ] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(!svg.contains("shop::<&>"), "names are escaped");
}

#[test]
fn resident_memory_far_above_the_heap_has_its_own_axis() {
    let folder = Folder::new();
    Recorded { resident_beside: 2 << 30, ..Recorded::leaking() }.write(&folder.join("soak"));
    assert_eq!(line(&folder, "plot soak -o heap.svg").code, 0);
    let svg = fs::read_to_string(folder.join("heap.svg")).unwrap();
    for text in ["resident memory (RSS), right axis", "live, MiB", "resident, GiB"] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn everything_odd_can_be_drawn() {
    let folder = Folder::new();
    let long = format!("shop::{}::{}", "very_long_module::".repeat(30), "Größe日本語".repeat(40));
    let cases: Vec<(&str, Recorded)> = vec![
        ("single", Recorded { snapshots: 1, ..Recorded::leaking() }),
        ("no-sites", Recorded::default()),
        (
            "empty-heap",
            Recorded { sites: vec![site("a", ("a.rs", 1), |_| 0)], resident_beside: 0, ..Recorded::default() },
        ),
        (
            "long",
            Recorded {
                sites: vec![site(&long, (&long, 1), |t| t * t)],
                executable: long.clone(),
                ..Recorded::default()
            },
        ),
        ("days", Recorded { every_ms: 86_400_000, ..Recorded::leaking() }),
        ("fast", Recorded { every_ms: 1, ..Recorded::leaking() }),
        ("huge", Recorded { sites: vec![site("a", ("a.rs", 1), |t| t << 40)], ..Recorded::default() }),
    ];
    for (name, recorded) in cases {
        recorded.write(&folder.join(name));
        for size in ["200x200", "1200x700", "300x2000"] {
            let said = line(&folder, &format!("plot {name} -o {name}-{size}.svg --size {size}"));
            assert_eq!(said.code, 0, "{name} {size} {said:?}");
        }
        let said = line(&folder, &format!("plot {name} -o {name}.png --size 210x333"));
        assert_eq!(said.code, 0, "{name} {said:?}");
        assert_eq!(decode(&folder.join(&format!("{name}.png"))).size, (210, 333));
    }
}

#[test]
fn of_many_snapshots_no_more_are_drawn_than_pixels() {
    let folder = Folder::new();
    let sites = vec![site("a", ("a.rs", 1), |t| 5 + t % 3)];
    let mut recorded = Recorded { sites, snapshots: 3000, ..Recorded::default() };
    recorded.sites[0].churn_blocks = 9;
    let path = folder.join("soak");
    fs::create_dir_all(&path).unwrap();
    for sequence in 0..recorded.snapshots {
        let mut snapshot = recorded.snapshot(sequence);
        snapshot.generations.clear();
        fs::write(path.join(format!("{sequence:06}")), leakcheck::format::to_json(&snapshot)).unwrap();
    }
    assert_eq!(line(&folder, "plot soak -o heap.svg --size 600x400").code, 0);
    let svg = fs::metadata(folder.join("heap.svg")).unwrap();
    assert!(svg.len() < 300_000, "{}", svg.len());
}

#[test]
fn several_processes_stand_one_below_the_other() {
    let folder = Folder::new();
    Recorded::leaking().write(&folder.join("soak"));
    Recorded { pid: 22, executable: "/usr/bin/worker".into(), ..Recorded::flat() }.write(&folder.join("soak"));
    assert_eq!(line(&folder, "plot soak -o both.svg --size 1000x900").code, 0);
    let svg = fs::read_to_string(folder.join("both.svg")).unwrap();
    assert!(svg.contains("worker: nothing leaks") && svg.contains("shop: leaking at 3 sites"));
    assert_eq!(line(&folder, "plot soak -o one.svg --size 1000x400").code, 0);
    let svg = fs::read_to_string(folder.join("one.svg")).unwrap();
    assert!(svg.contains("shop: leaking") && !svg.contains("worker:") && svg.contains("1 more not drawn"));
}

#[test]
fn a_picture_is_replaced_only_by_force() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("soak"));
    fs::write(folder.join("heap.png"), "mine").unwrap();
    let said = line(&folder, "plot soak -o heap.png");
    assert_eq!(said.code, 2);
    assert_eq!(
        said.stderr,
        "leakcheck: failed to draw heap.png: the file exists; give another name, or --force to replace it\n"
    );
    assert_eq!(fs::read_to_string(folder.join("heap.png")).unwrap(), "mine");
    assert_eq!(line(&folder, "plot soak -o heap.png --force").code, 0);
    assert_eq!(decode(&folder.join("heap.png")).size, (1200, 700));
}

#[test]
fn a_picture_that_fails_leaves_nothing_and_spoils_nothing() {
    let folder = Folder::new();
    fs::create_dir(folder.join("empty")).unwrap();
    assert_eq!(line(&folder, "plot empty -o heap.png").code, 2);
    assert_eq!(folder.names(), ["empty"]);
    fs::write(folder.join("old.png"), "mine").unwrap();
    assert_eq!(line(&folder, "plot empty -o old.png --force").code, 2);
    assert_eq!(fs::read_to_string(folder.join("old.png")).unwrap(), "mine");
}

#[test]
fn the_extension_decides_and_others_are_refused() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("soak"));
    for name in ["heap.jpg", "heap", "png"] {
        let said = line(&folder, &format!("plot soak -o {name}"));
        assert_eq!(said.code, 2);
        assert_eq!(said.stderr, format!("leakcheck: failed to draw {name}: the name must end in .png or .svg\n"));
    }
}

#[test]
fn the_result_is_told_in_every_form() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("soak"));
    let json: serde_json::Value =
        serde_json::from_str(&line(&folder, "plot soak -o a.png --format json").stdout).unwrap();
    let expected = serde_json::json!(
        {"output": "a.png", "width": 1200, "height": 700, "verdict": "bounded", "snapshots": 60}
    );
    assert_eq!(json, expected);
    let markdown = line(&folder, "plot soak -o b.png --format markdown").stdout;
    assert!(markdown.starts_with("![nothing leaks: ") && markdown.ends_with("](<b.png>)\n"), "{markdown}");
}
