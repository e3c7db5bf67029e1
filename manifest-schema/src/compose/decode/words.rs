//! A command written as one text, split into words as Compose splits it (go-shellwords): quotes and
//! backslashes as in a shell, nothing expanded, and `#` is a letter like any other. Where Compose
//! would drop the rest of the text (`|`, `;`, `>` …) the text is refused instead.

/// Splits `text`.
///
/// # Errors
/// Why it cannot be split, without the text.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    // What has been opened and not closed: a quote, a backquote, or `(` for `$(`.
    let mut open: Option<char> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (open, character) {
            (Some('\''), '\'') | (Some('"'), '"') => open = None,
            (Some('\''), _) => word.get_or_insert_default().push(character),
            (_, '\\') => {
                let next = characters.next().ok_or("ends with a backslash")?;
                let word = word.get_or_insert_default();
                match (open, next) {
                    (Some('`' | '('), _) => word.extend(['\\', next]),
                    (_, 't') => word.push('\t'),
                    (_, 'n') => word.push('\n'),
                    _ => word.push(next),
                }
            }
            (Some('`'), '`') | (Some('('), ')') => {
                open = None;
                word.get_or_insert_default().push(character);
            }
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, ' ' | '\t' | '\r' | '\n') => words.extend(word.take()),
            (None, '\'' | '"') => {
                open = Some(character);
                word.get_or_insert_default();
            }
            (None, '`') => {
                open = Some('`');
                word.get_or_insert_default().push(character);
            }
            (None, '(') if word.as_ref().is_some_and(|word| word.ends_with('$')) => {
                open = Some('(');
                word.get_or_insert_default().push(character);
            }
            (None, '(' | ')' | ';' | '&' | '|' | '<' | '>') => {
                return Err(format!("has `{character}`, which only a shell understands"));
            }
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    match open {
        None => Ok(words),
        Some('(') => Err("has a `$(` that is not closed".to_owned()),
        Some(_) => Err("has a quote that is not closed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::split;
    use proptest::prelude::*;

    #[test]
    fn words_are_those_of_compose() {
        for (text, expected) in [
            ("serve --color #ff0000 --port 80", vec!["serve", "--color", "#ff0000", "--port", "80"]),
            ("# a", vec!["#", "a"]),
            ("nginx -g 'daemon off;'", vec!["nginx", "-g", "daemon off;"]),
            (r#"a "b \"c\" 'd'" ''"#, vec!["a", "b \"c\" 'd'", ""]),
            (r"a\ b \n \x '\n'", vec!["a b", "\n", "x", "\\n"]),
            ("a`b c`d $(e f) \"(;|)\"", vec!["a`b c`d", "$(e f)", "(;|)"]),
            (" a\tb\nc\r\n", vec!["a", "b", "c"]),
            ("", vec![]),
        ] {
            assert_eq!(split(text), Ok(expected.iter().map(|word| (*word).to_owned()).collect()), "{text}");
        }
    }

    #[test]
    fn what_compose_refuses_or_drops_is_refused() {
        for (text, why) in [
            ("a 'b", "has a quote that is not closed"),
            ("a \"b", "has a quote that is not closed"),
            ("a `b", "has a quote that is not closed"),
            ("a $(b", "has a `$(` that is not closed"),
            ("a \\", "ends with a backslash"),
            ("serve | tee log", "has `|`, which only a shell understands"),
            ("serve > log", "has `>`, which only a shell understands"),
            ("a; b", "has `;`, which only a shell understands"),
            ("a && b", "has `&`, which only a shell understands"),
            ("(a)", "has `(`, which only a shell understands"),
        ] {
            assert_eq!(split(text), Err(why.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a#'\"\\\\ `$();é-]{0,30}") {
            let _ = split(&text);
        }
    }
}
