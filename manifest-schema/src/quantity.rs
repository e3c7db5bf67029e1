//! Numbers with units as people write them in Compose files and manifests (Compose Specification,
//! "Specifying durations" and "Specifying byte values"), and file modes.

use std::time::Duration;

/// A duration: `1h5m30s20ms`, `1.5s`, `10us`. A plain `0` needs no unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a duration; write one like 1m30s, 500ms or 2h");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() || text.len() > 64 {
        return Err(bad());
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| bad())?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(bad()),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = tail;
    }
    // The engine counts nanoseconds in a signed 64-bit number.
    if total.as_nanos() > i64::MAX as u128 {
        return Err(format!("`{text}` is longer than 292 years"));
    }
    Ok(total)
}

/// Bytes: `512m`, `4GiB`, `1.5g`, `2048`. Units count in steps of 1024, as Docker counts them.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a size; write one like 512m, 4GiB or a number of bytes");
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(bad()),
    };
    let too_large = || format!("`{text}` is larger than 8 EiB");
    let limit = i64::MAX as u64;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1_u64 << shift).filter(|bytes| *bytes <= limit).ok_or_else(too_large);
    }
    if number.len() > 32 || !number.contains('.') {
        return Err(if number.len() > 19 && !number.contains('.') { too_large() } else { bad() });
    }
    let value = number.parse::<f64>().map_err(|_| bad())? * (1_u64 << shift) as f64;
    if value > limit as f64 / 2.0 {
        return Err(too_large());
    }
    Ok(value as u64)
}

/// Permission bits, written in octal with a leading zero: `0644`, `0o440`.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'));
    match digits.filter(|d| !d.is_empty() && d.bytes().all(|b| matches!(b, b'0'..=b'7'))) {
        Some(digits) => match u32::from_str_radix(digits, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(mode),
            _ => Err(format!("`{text}` is past 07777, the largest file mode")),
        },
        None => Err(format!("`{text}` is not a file mode; write it in octal with a leading zero, like 0644")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1h5m30s20ms", 3_930_020),
            ("1.5s", 1500),
            ("500ms", 500),
            ("0", 0),
            ("0s", 0),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "10", "s", "1x", "-1s", "1 s", "1.2.3s", "99999999999999999999h", "1e300s", "300000d"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", 0),
            ("2048", 2048),
            ("512m", 512 << 20),
            ("4GiB", 4 << 30),
            ("4 GB", 4 << 30),
            ("1.5g", 3 << 29),
            ("64b", 64),
            ("7P", 7 << 50),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in
            ["", "m", "-1", "1x", "1.2.3m", "99999999999999999999", "9000p", "9999999.9p", "NaN", "1e9"]
        {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes() {
        assert_eq!(mode("0644"), Ok(0o644));
        assert_eq!(mode("0o440"), Ok(0o440));
        assert_eq!(mode("00"), Ok(0));
        for text in ["644", "", "0", "0899", "010000", "rw-r--r--", "0o", "0x1f"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9a-zµ. +-]{0,24}") {
            let _ = (duration(&text), bytes(&text), mode(&text));
        }
    }
}
