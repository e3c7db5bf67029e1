//! The characters of the terminal: where its locale is not UTF-8, the signs that our lines use are written in ASCII,
//! wherever they stand. Letters stay as they are. Only this file decides it.

use std::borrow::Cow;
use std::sync::OnceLock;

/// Each sign of ours with its writing in ASCII.
const SIGNS: [(char, &str); 18] = [
    ('✓', "+"),
    ('✗', "x"),
    ('…', "..."),
    ('→', "->"),
    ('←', "<-"),
    ('•', "*"),
    ('·', "-"),
    ('–', "-"),
    ('—', "-"),
    ('×', "x"),
    ('─', "-"),
    ('│', "|"),
    ('├', "|"),
    ('└', "`"),
    ('’', "'"),
    ('“', "\""),
    ('”', "\""),
    ('\u{fffd}', "?"),
];

/// `text` as this process's terminal shows it.
#[must_use]
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if is_unicode() { Cow::Borrowed(text) } else { in_ascii(text) }
}

/// True where the locale of this process is UTF-8.
pub(crate) fn is_unicode() -> bool {
    static UNICODE: OnceLock<bool> = OnceLock::new();
    *UNICODE.get_or_init(|| {
        cfg!(windows) || is_utf8(["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).ok()))
    })
}

/// POSIX, "Environment Variables": the first one that is not empty counts; where none is, the locale is `C`.
fn is_utf8(locales: [Option<String>; 3]) -> bool {
    let locale = locales.into_iter().flatten().find(|locale| !locale.is_empty()).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

fn in_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match SIGNS.iter().find(|(sign, _)| *sign == c) {
            Some((_, ascii)) => plain.push_str(ascii),
            None => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_that_is_named_counts() {
        let utf8 = |all: &str, ctype: &str, lang: &str| {
            is_utf8([all, ctype, lang].map(|text| Some(text.to_owned()).filter(|text| text != "-")))
        };
        assert!(utf8("-", "-", "de_DE.UTF-8") && utf8("", "", "C.utf8") && utf8("-", "en_US.UTF-8", "C"));
        assert!(!utf8("C", "en_US.UTF-8", "en_US.UTF-8") && !utf8("POSIX", "-", "-") && !utf8("-", "-", "-"));
        assert!(!utf8("-", "-", "de_DE.ISO-8859-1"));
    }

    #[test]
    fn signs_of_ours_become_ascii_and_words_of_others_stay() {
        assert_eq!(in_ascii("✓ small → …"), "+ small -> ...");
        assert_eq!(in_ascii("│  └─ Überwachung"), "|  `- Überwachung");
        assert!(SIGNS.iter().all(|(_, ascii)| ascii.is_ascii()));
    }
}
