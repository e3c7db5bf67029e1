//! Next steps for texts that are no YAML.

/// The hint for a mistake of syntax, from the parser's message and its line.
pub(super) fn syntax_hint(message: &str, line: &str) -> &'static str {
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    let value = line.split_once(": ").map_or_else(
        || line.trim_start().strip_prefix("- ").unwrap_or_default(),
        |(_, value)| value.trim_start().trim_start_matches("- "),
    );
    if value.starts_with(['@', '`', '%']) {
        "put quotes around a value that starts with `@`, `%` or a backtick"
    } else if indent.contains('\t') || message.contains("tab") {
        "indent with spaces; YAML does not allow tabs"
    } else if message.contains("anchor") {
        "an alias `*name` needs `&name` above it; put quotes around a value that starts with `*`"
    } else if message.contains("quote") {
        "close the quote, or put the whole value in the other kind of quotes"
    } else if message.contains("':' indicator")
        || message.contains("flow")
        || message.contains("bracket")
        || message.contains("brace")
    {
        "close each `[` and `{`, and separate entries with commas"
    } else if line.matches(": ").count() > 1 || message.contains("mapping values") {
        "put quotes around a value that holds `: `"
    } else {
        "check that this line is indented like its neighbours and that each key ends with `: `"
    }
}
