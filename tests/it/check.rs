//! `leakcheck check`.
use crate::recorded::*;
#[test]
fn make_examples() {
    let Some(to) = std::env::var_os("LEAKCHECK_EXAMPLES") else { return };
    let to = std::path::PathBuf::from(to);
    Recorded {
        checkpoints: vec![
            (10, "after warm-up".into()),
            (40, "load doubled: a rather long name of a checkpoint that goes on".into()),
            (41, "two".into()),
        ],
        ..Recorded::leaking()
    }
    .write(&to.join("leaking"));
    Recorded { resident_beside: 900 << 20, ..Recorded::leaking() }.write(&to.join("rss"));
    Recorded::flat().write(&to.join("flat"));
    Recorded { snapshots: 1, ..Recorded::flat() }.write(&to.join("single"));
    let mut long = Recorded::leaking();
    long.sites[0].stack[2].0 = format!(
        "<shop::{}Кеш::日本<K, V> as shop::Tra>::{}",
        "very_long_module_name::".repeat(12),
        "remember_".repeat(20)
    );
    long.sites[1].stack[2].0 = "shop::größe::naïve<T>::{{closure}}".into();
    long.sites[1].stack[2].1 = format!("/home/{}/src/x.rs", "deep/".repeat(30));
    long.write(&to.join("long"));
    for (n, r) in [
        Recorded::leaking(),
        Recorded { pid: 22, executable: "/bin/worker".into(), ..Recorded::flat() },
        Recorded { pid: 23, executable: "/bin/cron".into(), snapshots: 3, ..Recorded::leaking() },
    ]
    .into_iter()
    .enumerate()
    {
        let _ = n;
        r.write(&to.join("several"));
    }
    let mut many = Recorded::leaking();
    many.snapshots = 2000;
    many.sites.truncate(8);
    many.every_ms = 30_000;
    for s in &mut many.sites {
        s.churn_blocks = 3
    }
    many.write(&to.join("many"));
}
