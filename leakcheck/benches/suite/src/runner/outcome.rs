//! What a child printed, read.

use super::statistics;
use serde_json::Value;
use std::collections::BTreeMap;

/// One child's measurement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// CPU nanoseconds an operation, of the working thread: the median of the regions.
    pub(crate) thread_ns: f64,
    /// CPU nanoseconds an operation, of the whole process: the median of the regions.
    pub(crate) process_ns: f64,
    /// The same, the mean of the regions.
    pub(crate) process_mean_ns: f64,
    /// The highest resident bytes.
    pub(crate) peak_bytes: f64,
    /// What else it had to say.
    pub(crate) facts: BTreeMap<String, f64>,
}

impl Outcome {
    /// Reads the lines of a child.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).map_err(|why| format!("failed to read `{line}`: {why}")))
            .collect::<Result<_, _>>()?;
        let (last, regions) = lines.split_last().ok_or("the child printed nothing")?;
        let number = |value: &Value, name: &str| value[name].as_f64().unwrap_or(0.0);
        let per_operation = |name: &str| -> Vec<f64> {
            regions.iter().map(|region| number(region, name) / number(region, "operations").max(1.0)).collect()
        };
        let sum = |name: &str| -> f64 { regions.iter().map(|region| number(region, name)).sum() };
        let facts = last["facts"].as_object().ok_or("the child printed no facts")?;
        Ok(Self {
            thread_ns: statistics::median(&per_operation("thread_ns")),
            process_ns: statistics::median(&per_operation("process_ns")),
            process_mean_ns: sum("process_ns") / sum("operations").max(1.0),
            peak_bytes: number(last, "peak_bytes"),
            facts: facts.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_read() {
        let text = "{\"thread_ns\":100,\"process_ns\":300,\"operations\":10}\n\
                    {\"thread_ns\":200,\"process_ns\":100,\"operations\":10}\n\
                    {\"thread_ns\":300,\"process_ns\":200,\"operations\":20}\n\
                    {\"peak_bytes\":4096,\"facts\":{\"sites\":3}}\n";
        let outcome = Outcome::parse(text).unwrap();
        assert_eq!((outcome.thread_ns, outcome.process_ns, outcome.process_mean_ns), (15.0, 10.0, 15.0));
        assert_eq!((outcome.peak_bytes, outcome.facts["sites"]), (4096.0, 3.0));
        assert!(Outcome::parse("").is_err());
        assert!(Outcome::parse("Segmentation fault\n").is_err());
    }
}
