//! tracking-allocator on the outside, leakcheck on the inside: a site is split by group, also where a span moves.

use leakcheck::Leakcheck;
use leakcheck::model::{Amount, Snapshot};
use tracing_subscriber::layer::SubscriberExt;
use tracking_allocator::{AllocationLayer, Allocator};

#[global_allocator]
static ALLOC: Allocator<Leakcheck> = Allocator::from_allocator(Leakcheck::system());

#[inline(never)]
fn make_in_group() -> Box<[u8; 1000]> {
    Box::new([7; 1000])
}

fn live_in(snapshot: &Snapshot, scope: Option<&str>) -> Amount {
    let is_ours = |site: &&leakcheck::model::Site| {
        snapshot.scope_of(site) == scope
            && snapshot.frames_of(site).flat_map(|f| &f.functions).any(|f| f.name.contains("make_in_group"))
    };
    snapshot.sites.iter().filter(is_ours).fold(Amount::default(), |sum, site| sum.plus(site.counters.live()))
}

#[test]
fn groups_and_spans_are_scopes() {
    leakcheck::groups::install().unwrap();
    let recording = leakcheck::Recorder::builder().start().unwrap();

    let mut kept = vec![make_in_group()];
    let mut token = leakcheck::groups::group("import").unwrap();
    {
        let _guard = token.enter();
        kept.push(make_in_group());
        kept.push(make_in_group());
        drop(make_in_group());
    }
    let subscriber = tracing_subscriber::registry().with(AllocationLayer::new());
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("request");
        leakcheck::groups::group("request").unwrap().attach_to_span(&span);
        let _entered = span.enter();
        kept.extend((0..3).map(|_| make_in_group()));
    });
    let snapshot = recording.finish().unwrap();
    let blocks = [None, Some("import"), Some("request")].map(|scope| live_in(&snapshot, scope).blocks);
    assert_eq!(blocks, [1, 2, 3]);
    // tracking-allocator adds its 8-byte header.
    assert_eq!(live_in(&snapshot, Some("request")).bytes, 3 * 1008);
    drop(kept);
}
