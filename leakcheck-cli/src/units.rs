//! Quantities as people write and read them: bytes, rates, durations, counts.

use leakcheck::analysis::Rate;
use std::time::Duration;

const STEPS: [(&str, f64); 4] = [
    ("TiB", 1024.0 * 1024.0 * 1024.0 * 1024.0),
    ("GiB", 1024.0 * 1024.0 * 1024.0),
    ("MiB", 1024.0 * 1024.0),
    ("KiB", 1024.0),
];

/// The largest binary unit that leaves at least one of it, with its size in bytes.
pub(crate) fn byte_unit(bytes: f64) -> (&'static str, f64) {
    STEPS.into_iter().find(|(_, size)| bytes.abs() >= *size).unwrap_or(("B", 1.0))
}

/// `1536` as `1.5 KiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    fractional_bytes(bytes as f64)
}

/// `-1536` as `-1.5 KiB`, positive numbers with a plus.
pub(crate) fn signed_bytes(bytes: i64) -> String {
    let sign = sign_of(bytes);
    format!("{sign}{}", fractional_bytes(bytes.unsigned_abs() as f64))
}

/// `-12345` as `-12,345`, positive numbers with a plus.
pub(crate) fn signed_count(count: i64) -> String {
    format!("{}{}", sign_of(count), self::count(count.unsigned_abs()))
}

const fn sign_of(number: i64) -> &'static str {
    match number {
        1.. => "+",
        0 => "",
        _ => "-",
    }
}

fn fractional_bytes(bytes: f64) -> String {
    let (unit, size) = byte_unit(bytes);
    let amount = bytes / size;
    if unit == "B" {
        if amount == amount.trunc() { format!("{amount:.0} B") } else { format!("{amount:.1} B") }
    } else {
        format!("{} {unit}", three_digits(amount))
    }
}

fn three_digits(number: f64) -> String {
    match number.abs() {
        small if small < 9.995 => format!("{number:.2}"),
        middle if middle < 99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// The span a rate is told over: small ones by the hour, so that they do not read as nothing.
fn rate_span(bytes_per_second: f64) -> (&'static str, f64) {
    if bytes_per_second.abs() >= 16.0 { ("s", 1.0) } else { ("h", 3600.0) }
}

/// `bytes_per_second` as `1.20 MiB/s`, or by the hour when it is below 16 B/s.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    let (span, seconds) = rate_span(bytes_per_second);
    format!("{}/{span}", fractional_bytes((bytes_per_second * seconds).round()))
}

/// The rate by the hour, as the growth of a day or a night is told; nothing when [`rate`] tells it so already.
pub(crate) fn rate_by_the_hour(per_second: Rate) -> Option<String> {
    let (span, _) = rate_span(per_second.estimate);
    (span != "h").then(|| format!("{}/h", fractional_bytes(per_second.per_hour().estimate.round())))
}

/// An interval of rates, in the unit of its estimate.
pub(crate) fn rate_interval(estimate: f64, low: f64, high: f64) -> String {
    let (span, seconds) = rate_span(estimate);
    let (unit, size) = byte_unit(estimate * seconds);
    let number = |rate: f64| three_digits(rate * seconds / size);
    format!("{} to {} {unit}/{span}", number(low), number(high))
}

/// `12345` as `12,345`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A span in milliseconds.
pub(crate) fn whole_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A number with its noun: `1 site`, `1,200 sites`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `75_000` as `1 min 15 s`.
pub(crate) fn duration(ms: u64) -> String {
    let s = ms.saturating_add(500) / 1000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        60_000..3_600_000 => two(s / 60, "min", s % 60, "s"),
        3_600_000..86_400_000 => two(s / 3600, "h", s % 3600 / 60, "min"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

/// Growth of `growth` over `before` in percent; nothing when there was nothing before.
pub(crate) fn percent(growth: i64, before: u64) -> Option<String> {
    (before > 0).then(|| {
        let percent = growth as f64 * 100.0 / before as f64;
        let text = if percent.abs() < 10.0 { format!("{percent:+.1}") } else { format!("{percent:+.0}") };
        match text.as_str() {
            "+0.0" | "-0.0" => "0 %".to_owned(),
            _ => format!("{text} %"),
        }
    })
}

/// Reads `512KiB`, `1 MB`, `4096`.
pub(crate) fn parse_bytes(text: &str) -> Result<f64, String> {
    let (number, unit) = split_number(text).ok_or_else(|| expected("a size such as 512KiB or 10MB", text))?;
    let size = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(expected("a size such as 512KiB or 10MB", text)),
    };
    Ok(number * size)
}

/// Reads a size as [`parse_bytes`] does, in whole bytes, at least one.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        bytes if bytes >= 1.0 => Ok(bytes as u64),
        _ => Err(expected("at least one byte", text)),
    }
}

/// Reads `1MiB/h`, `10KiB/s`, `5MB/d`, in bytes per second.
pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let wrong = || expected("a rate such as 1MiB/h or 10KiB/s", text);
    let (amount, span) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match span.trim() {
        "s" => 1.0,
        "min" | "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    Ok(parse_bytes(amount).map_err(|_| wrong())? / seconds)
}

/// Reads `10s`, `500ms`, `1.5min`, `2h`, in milliseconds.
pub(crate) fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let wrong = || expected("a time such as 500ms, 10s or 2min", text);
    let (number, unit) = split_number(text).ok_or_else(wrong)?;
    let ms = match unit {
        "ms" => 1.0,
        "s" | "" => 1e3,
        "m" | "min" => 60e3,
        "h" => 3_600e3,
        "d" => 86_400e3,
        _ => return Err(wrong()),
    };
    Ok((number * ms).round() as u64)
}

/// Reads a time as [`parse_duration_ms`] does, for something done again and again: not more often than every 10 ms.
pub(crate) fn parse_interval_ms(text: &str) -> Result<u64, String> {
    match parse_duration_ms(text)? {
        0..10 => Err(format!("expected at least 10ms, found '{text}'")),
        ms => Ok(ms),
    }
}

/// Reads `1200x700`, in pixels.
pub(crate) fn parse_pixels(text: &str) -> Result<(u32, u32), String> {
    const RANGE: std::ops::RangeInclusive<u32> = 200..=4000;
    text.split_once(['x', '×'])
        .and_then(|(width, height)| Some((width.trim().parse().ok()?, height.trim().parse().ok()?)))
        .filter(|(width, height)| RANGE.contains(width) && RANGE.contains(height))
        .ok_or_else(|| expected("WIDTHxHEIGHT such as 1200x700, each from 200 to 4000", text))
}

fn split_number(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim()))
}

fn expected(what: &str, found: &str) -> String {
    format!("expected {what}, found '{found}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        for (value, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (12_900_000, "12.3 MiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(signed_bytes(i64::MIN), "-8388608 TiB");
        assert_eq!(signed_bytes(1536), "+1.50 KiB");
        assert_eq!(rate(1_258_291.0), "1.20 MiB/s");
        assert_eq!(rate(10.0), "35.2 KiB/h");
        assert_eq!(rate_interval(1_258_291.0, 1_048_576.0, 1_468_006.0), "1.00 to 1.40 MiB/s");
        let steady = |estimate| Rate { estimate, low: estimate, high: estimate };
        assert_eq!(rate_by_the_hour(steady(1_258_291.0)).as_deref(), Some("4.22 GiB/h"));
        assert_eq!(rate_by_the_hour(steady(10.0)), None);
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123), "123");
        for (ms, text) in [
            (0, "0 ms"),
            (12_345, "12.3 s"),
            (75_000, "1 min 15 s"),
            (7_200_000, "2 h"),
            (90_000_000, "1 d 1 h"),
            (u64::MAX, "213503982334 d 14 h"),
        ] {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(percent(5, 0), None);
        assert_eq!(percent(50, 100).as_deref(), Some("+50 %"));
        assert_eq!(percent(-1, 100).as_deref(), Some("-1.0 %"));
    }

    #[test]
    fn quantities_are_understood() {
        assert_eq!(parse_rate("1MiB/h"), Ok(1_048_576.0 / 3600.0));
        assert_eq!(parse_rate("10 KiB/s"), Ok(10_240.0));
        assert_eq!(parse_duration_ms("1.5min"), Ok(90_000));
        assert_eq!(parse_duration_ms("500ms"), Ok(500));
        assert_eq!(parse_pixels("1200x700"), Ok((1200, 700)));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        for wrong in ["", "0", "0.5B", "much"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "MiB", "1MiB", "1MiB/fortnight", "-1KiB/s", "1..5KiB/s", "∞/s"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "s", "10 parsecs", "-3s"] {
            assert!(parse_duration_ms(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "x", "1200", "1200x", "0x0", "100000x100000", "12x-4"] {
            assert!(parse_pixels(wrong).is_err(), "{wrong}");
        }
    }
}
