//! The meaning of a plain scalar (YAML 1.2.2, section 10.3.2 "Tag Resolution"), and `0644` as octal.

use super::Value;

/// The value of a plain (unquoted, untagged) scalar.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Some(value) = int(text) {
        return Value::Int(value, text.to_owned());
    }
    if let Some(value) = float(text) {
        return Value::Float(value, text.to_owned());
    }
    Value::Str(text.to_owned())
}

/// A whole number: decimal, `0o17`, `0x1f` or, as YAML 1.1 had it, `017`.
pub(crate) fn int(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.len() > 1 && digits.starts_with('0') {
        let value = radix(digits, 8)?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// True for a number that is written as `010`, which some read as ten and some as eight.
pub(crate) fn leading_zero(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

fn radix(digits: &str, radix: u32) -> Option<i64> {
    // `from_str_radix` would also take a sign here.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok()
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, infinities and not-a-number.
pub(super) fn float(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if exponent.is_some_and(|e| e.is_empty() || !digits(e)) {
        return None;
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    // `0899` is neither octal nor meant as a number.
    if whole.len() > 1 && whole.starts_with('0') && !mantissa.contains('.') {
        return None;
    }
    text.parse().ok()
}

/// A number as Docker Compose writes it: what is written as a whole number in decimal, others with the fewest digits, and
/// an exponent from 1e+06 on and below 1e-4 (Go's `%g`).
pub(crate) fn number(value: &Value) -> Option<String> {
    match value {
        Value::Int(value, _) => Some(value.to_string()),
        Value::Float(value, _) if !value.is_finite() => None,
        // Whole numbers have 64 bits there, without a sign too.
        Value::Float(_, text) if text.parse::<u64>().is_ok() => Some(text.trim_start_matches('+').to_owned()),
        Value::Float(value, _) if *value == 0.0 || (1e-4..1e6).contains(&value.abs()) => {
            Some(value.to_string())
        }
        Value::Float(value, _) => {
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once('e')?;
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            Some(format!("{digits}e{sign}{exponent:0>2}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (text, expected) in [
            ("1.0", "1"),
            ("0x10", "16"),
            ("010", "8"),
            ("3", "3"),
            ("1.10", "1.1"),
            ("1e3", "1000"),
            ("-0.5", "-0.5"),
            ("1e21", "1e+21"),
            ("0.00001", "1e-05"),
            ("1.5e-7", "1.5e-07"),
            ("123456789.0", "1.23456789e+08"),
            ("1e6", "1e+06"),
            ("999999.5", "999999.5"),
            ("1234567.0", "1.234567e+06"),
            ("100000000", "100000000"),
            ("12345678901234567890", "12345678901234567890"),
            ("-1e6", "-1e+06"),
        ] {
            let found = number(&plain(text));
            assert_eq!(found.as_deref(), Some(expected), "{text}");
        }
        assert_eq!(number(&plain("a")), None);
        assert_eq!(number(&Value::Str("010".to_owned())), None);
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let int = |value: i64, text: &str| Value::Int(value, text.to_owned());
        let float = |value: f64, text: &str| Value::Float(value, text.to_owned());
        let string = |text: &str| Value::Str(text.to_owned());
        let cases = [
            ("", Value::Null),
            ("~", Value::Null),
            ("null", Value::Null),
            ("nUll", string("nUll")),
            ("True", Value::Bool(true)),
            ("yes", string("yes")),
            ("on", string("on")),
            ("0", int(0, "0")),
            ("-12", int(-12, "-12")),
            ("+12", int(12, "+12")),
            ("0644", int(0o644, "0644")),
            ("0o644", int(0o644, "0o644")),
            ("0x1F", int(31, "0x1F")),
            ("0899", string("0899")),
            ("-0x1", string("-0x1")),
            ("0x-1", string("0x-1")),
            ("9223372036854775808", float(9_223_372_036_854_775_808.0, "9223372036854775808")),
            ("1.10", float(1.1, "1.10")),
            (".5", float(0.5, ".5")),
            ("1.", float(1.0, "1.")),
            ("1e3", float(1000.0, "1e3")),
            ("-.inf", float(f64::NEG_INFINITY, "-.inf")),
            (".", string(".")),
            ("1e", string("1e")),
            ("e3", string("e3")),
            ("1.2.3", string("1.2.3")),
            ("8080:80", string("8080:80")),
            ("inf", string("inf")),
            ("nan", string("nan")),
            ("-", string("-")),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }
}
