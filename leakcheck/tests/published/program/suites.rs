//! Which published crates' test suites are run. Data only.

/// A crate whose own tests allocate a lot, and whose published source has them.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Features to build with, besides the default ones.
    pub(crate) features: &'static [&'static str],
    /// Test programs left out: `(name, why)`.
    pub(crate) left_out: &'static [(&'static str, &'static str)],
}

/// In the order in which they are run.
pub(crate) const SUITES: &[Suite] = &[
    Suite { name: "hashbrown", version: "0.17.2", features: &["rayon", "serde"], left_out: &[] },
    Suite { name: "bytes", version: "1.12.2", features: &[], left_out: &[] },
    Suite { name: "indexmap", version: "2.14.2", features: &["rayon", "serde"], left_out: &[] },
    Suite {
        name: "serde_json",
        version: "1.0.154",
        features: &["preserve_order", "raw_value", "unbounded_depth"],
        left_out: &[("compiletest", "runs the compiler")],
    },
    Suite { name: "crossbeam-utils", version: "0.8.23", features: &[], left_out: &[] },
    Suite { name: "crossbeam-epoch", version: "0.9.21", features: &[], left_out: &[] },
    Suite { name: "crossbeam-deque", version: "0.8.8", features: &[], left_out: &[] },
    Suite { name: "crossbeam-channel", version: "0.5.17", features: &[], left_out: &[] },
    Suite { name: "rayon", version: "1.12.0", features: &[], left_out: &[] },
    Suite { name: "regex-syntax", version: "0.8.12", features: &[], left_out: &[] },
    Suite {
        name: "regex-automata",
        version: "0.4.19",
        features: &[],
        left_out: &[("integration", "needs test data that is not published")],
    },
    Suite { name: "tokio", version: "1.54.1", features: &["full", "test-util"], left_out: &[] },
];
