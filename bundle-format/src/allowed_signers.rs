//! Pinned keys, in OpenSSH's `allowed_signers` format (ssh-keygen(1), "ALLOWED SIGNERS").
//!
//! ```text
//! principals [options] keytype base64-key [comment]
//! ```
//!
//! Of the options, `namespaces` is honoured; a line with an option that would narrow trust in a way
//! this reader does not know (`cert-authority`, `valid-before`, …) is not used, since using it
//! would trust more than its author meant. Principals are patterns, matched by
//! [`AllowedSigner::is_for`]: on a host they name the product that the key is pinned for.

use crate::signature::NAMESPACE;
use ssh_key::PublicKey;

/// One usable line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedSigner {
    /// Whom or what the key is for, as the file says: patterns with commas between them.
    pub principals: String,
    /// The key.
    pub key: PublicKey,
}

impl AllowedSigner {
    /// True where the line is for `principal`, as ssh-keygen(1) and "PATTERNS" in ssh_config(5) have it: one of the
    /// patterns matches, and none that begins with `!`.
    #[must_use]
    pub fn is_for(&self, principal: &str) -> bool {
        let mut found = false;
        for pattern in self.principals.split(',') {
            match pattern.strip_prefix('!') {
                Some(pattern) if matches(pattern, principal) => return false,
                Some(_) => {}
                None => found |= matches(pattern, principal),
            }
        }
        found
    }
}

/// `*` stands for any characters, `?` for one. Takes at most the product of both lengths in steps.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut position) = (0, 0);
    // Where the last star stands, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(c) if *c == '?' || Some(c) == text.get(position) => {
                at += 1;
                position += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    position = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|c| *c == '*')
}

/// A line that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadLine {
    /// 1-based.
    pub line: usize,
    /// Lower-case fact.
    pub reason: String,
}

/// Reads an `allowed_signers` file: the usable lines, and those left out.
#[must_use]
pub fn parse(text: &str) -> (Vec<AllowedSigner>, Vec<BadLine>) {
    let (mut signers, mut bad) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line) {
            Ok(Some(signer)) => signers.push(signer),
            Ok(None) => {}
            Err(reason) => bad.push(BadLine { line: number + 1, reason }),
        }
    }
    (signers, bad)
}

fn parse_line(line: &str) -> Result<Option<AllowedSigner>, String> {
    let (principals, rest) = next_word(line).ok_or("it has no key")?;
    let quoted = principals.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let principals = quoted.unwrap_or(principals);
    if principals.contains('"') {
        return Err("its principals are quoted in part; put the quotes around all of them".to_owned());
    }
    let (word, after) = next_word(rest).ok_or("it has no key")?;
    let is_key_type =
        ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| word.starts_with(prefix));
    let (options, key) = if is_key_type { ("", rest) } else { (word, after) };
    for option in split_options(options) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if name.eq_ignore_ascii_case("namespaces") {
            let mut namespaces = value.trim_matches('"').split(',').map(str::trim);
            if !namespaces.any(|namespace| namespace == NAMESPACE || namespace == "*") {
                return Ok(None);
            }
        } else {
            return Err(format!("the option `{name}` is not supported, so the key is not used"));
        }
    }
    let key = PublicKey::from_openssh(key).map_err(|error| format!("the key cannot be read: {error}"))?;
    Ok(Some(AllowedSigner { principals: principals.to_owned(), key }))
}

/// Splits at the first blank that is not inside double quotes.
fn next_word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    });
    match end {
        Some(end) => Some((text.get(..end)?, text.get(end..)?.trim_start())),
        None if text.is_empty() => None,
        None => Some((text, "")),
    }
}

fn split_options(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .filter(|option| !option.is_empty())
}

/// The line that pins `key` for `principal`.
///
/// # Errors
/// When the key cannot be written as text, which does not happen for keys that were read.
pub fn line(principal: &str, key: &PublicKey) -> Result<String, ssh_key::Error> {
    let principal: String =
        principal.chars().map(|c| if c.is_whitespace() || c == '"' { '_' } else { c }).collect();
    // What is empty would not be there, and what begins with `#` would be a comment.
    let quote = if principal.is_empty() || principal.starts_with('#') { "\"" } else { "" };
    Ok(format!("{quote}{principal}{quote} namespaces=\"{NAMESPACE}\" {}\n", key.to_openssh()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn lines_as_openssh_writes_them() {
        let text = format!(
            "# comment\n\nrelease@acme {KEY} c\n\"a b,x\" namespaces=\"ferry,git\" {KEY}\nother namespaces=\"git\" {KEY}\n\
             ca cert-authority {KEY}\nlate valid-before=\"20200101\" {KEY}\nbroken ssh-ed25519 AAAA\nshort\n\
             \"a b\",x {KEY}\nx,\"a b\" {KEY}\n"
        );
        let (signers, bad) = parse(&text);
        let names: Vec<_> = signers.iter().map(|s| s.principals.as_str()).collect();
        assert_eq!(names, ["release@acme", "a b,x"]);
        assert_eq!(bad.iter().map(|b| b.line).collect::<Vec<_>>(), [6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn principals_are_patterns() {
        let key = PublicKey::from_openssh(KEY).unwrap();
        for (principals, good, bad) in [
            ("shop", &["shop"][..], &["shop2", "sho", "Shop", ""][..]),
            ("*", &["shop", "x"], &[]),
            ("plant-*,shop", &["plant-", "plant-a-b", "shop"], &["plant", "xplant-a", "shop,x"]),
            ("sh?p", &["shop", "ship"], &["shp", "shoop"]),
            ("*-x*y", &["a-xy", "-x-xyy"], &["a-x", "a-xyz"]),
            ("*,!shop*", &["plant"], &["shop", "shop2"]),
            ("!shop", &[], &["shop", "plant"]),
        ] {
            let signer = AllowedSigner { principals: principals.to_owned(), key: key.clone() };
            good.iter().for_each(|name| assert!(signer.is_for(name), "{principals} {name}"));
            bad.iter().for_each(|name| assert!(!signer.is_for(name), "{principals} {name}"));
        }
    }

    #[test]
    fn a_written_line_is_read_back() {
        let key = PublicKey::from_openssh(KEY).unwrap();
        for principal in ["a b", "", "\"", "a,b", "#a"] {
            let (signers, bad) = parse(&line(principal, &key).unwrap());
            assert_eq!((signers.len(), bad.len()), (1, 0), "{principal}");
            assert_eq!(signers[0].key.key_data(), key.key_data());
        }
    }
}
