//! `volumes` of a manifest: the first content of named volumes.

use super::SeedSpec;
use super::decode::since_2;
use super::sources::local_path;
use crate::diagnostic::shown;
use crate::quantity;
use crate::yaml::{Node, Reader};

const KEYS: [&str; 3] = ["seed", "owner", "mode"];

/// Largest number of a user or group: the one above means "unchanged" to chown(2).
const LAST_ID: u32 = u32::MAX - 1;

/// `USER:GROUP`, each a number, or a name that the image of a service has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedOwner {
    /// The text as it is written.
    pub text: String,
    /// 1-based line in the manifest.
    pub line: usize,
}

impl SeedOwner {
    /// User and group, where both are numbers.
    #[must_use]
    pub fn numbers(&self) -> Option<(u32, u32)> {
        let (user, group) = self.text.split_once(':')?;
        Some((user.parse().ok()?, group.parse().ok()?))
    }
}

pub(super) fn decode(r: &mut Reader, node: &Node, ferry: i64) -> Vec<SeedSpec> {
    let mut seeds = Vec::new();
    for (key, node) in r.names("volumes", node) {
        let _: Option<crate::ServiceName> = key
            .text
            .parse()
            .map_err(|_| r.error_bare(key, format!("`{}` is not a valid volume name", shown(&key.text))))
            .ok();
        let (mut seed, mut root) = (None, None);
        let (mut owner, mut mode) = (None, None);
        for (inner, node) in r.map(&key.text, node) {
            match inner.text.as_str() {
                "seed" => {
                    seed = r.parsed("seed", node, local_path).map(|from| (from, inner.place.line));
                }
                "owner" => {
                    root = Some(inner);
                    // `r.string` and no other getter: a number is read otherwise than it looks.
                    let text = since_2(r, inner, ferry).and_then(|()| r.string("owner", node));
                    owner = text.and_then(|text| match self::owner(&text) {
                        Ok(()) => Some(SeedOwner { text, line: inner.place.line }),
                        Err(hint) => {
                            r.error(node, format!("`{}` is no owner", shown(&text)), hint);
                            None
                        }
                    });
                }
                "mode" => {
                    root = Some(inner);
                    let text = since_2(r, inner, ferry).and_then(|()| r.string("mode", node));
                    mode = text.and_then(|text| {
                        self::mode(&text).map_err(|why| r.error_bare(node, format!("`mode`: {why}"))).ok()
                    });
                }
                _ => r.unknown_key(inner, "a volume of the manifest", &KEYS),
            }
        }
        if let (Some(root), None) = (root, node.get("seed")) {
            let message = format!("`{}` is that of the volume's first content, and there is none", root.text);
            r.error(root, message, "add it, like `seed: seed/pgdata`, or delete this line");
        }
        if let Some((from, line)) = seed {
            seeds.push(SeedSpec { volume: key.text.clone(), from, owner, mode, line });
        }
    }
    seeds
}

/// Checks `USER:GROUP`.
///
/// # Errors
/// The right form, as a hint.
fn owner(text: &str) -> Result<(), String> {
    let example = "write user and group, as in `owner: \"999:999\"`";
    let (user, group) = text.split_once(':').ok_or(example)?;
    for part in [user, group] {
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && !part.parse::<u32>().is_ok_and(|id| id <= LAST_ID) {
            return Err(if part.is_empty() {
                example.to_owned()
            } else {
                format!("numbers end at {LAST_ID}")
            });
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let is_name = part.len() <= 32 && part.bytes().all(good) && !part.starts_with(['-', '.']);
        if !is_number && !is_name {
            return Err(example.to_owned());
        }
    }
    Ok(())
}

/// Permission bits of a folder.
fn mode(text: &str) -> Result<u32, String> {
    let mode = quantity::mode(text)?;
    if mode & 0o4000 != 0 {
        return Err(format!("`{text}` has the set-user-ID bit, which means nothing on a folder"));
    }
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    const BEGIN: &str = "ferry: 2\nname: a\nversion: 1\n";

    fn seed(text: &str) -> SeedSpec {
        let text = format!("{BEGIN}volumes: {{ v: {text} }}\n");
        let manifest = Manifest::parse("ferry.yaml", &text).unwrap_or_else(|error| panic!("{error}"));
        manifest.seeds.into_iter().next().unwrap()
    }

    fn refused(text: &str) -> String {
        let text = format!("{BEGIN}volumes: {{ v: {text} }}\n");
        Manifest::parse("ferry.yaml", &text).expect_err("it must be refused").to_string()
    }

    #[test]
    fn owner_and_mode_of_a_seed() {
        let one = seed("{ seed: s, owner: 999:4294967294, mode: \"0750\" }");
        assert_eq!((one.owner.unwrap().numbers(), one.mode), (Some((999, 4_294_967_294)), Some(0o750)));
        let two = seed("{ seed: s, owner: 'postgres:ssl-cert', mode: '03777' }");
        assert_eq!((two.owner.clone().unwrap().numbers(), two.mode), (None, Some(0o3777)));
        assert_eq!((two.owner.unwrap().line, two.line), (4, 4));
        let none = seed("{ seed: s }");
        assert_eq!((none.owner, none.mode), (None, None));
    }

    #[test]
    fn what_is_no_owner_or_mode_is_refused_with_the_next_step() {
        for (text, says) in [
            // 0750 is the number 750 to one reader of YAML and 488 to another.
            ("{ seed: s, mode: 0750 }", "put it in quotes: \"0750\""),
            ("{ seed: s, mode: 750 }", "put it in quotes: \"750\""),
            ("{ seed: s, mode: '750' }", "with a leading zero, like 0644"),
            ("{ seed: s, mode: '04750' }", "set-user-ID"),
            ("{ seed: s, mode: '010000' }", "past 07777"),
            ("{ seed: s, owner: 999 }", "put it in quotes"),
            ("{ seed: s, owner: '999' }", "owner: \"999:999\""),
            ("{ seed: s, owner: '999:' }", "owner: \"999:999\""),
            ("{ seed: s, owner: ':999' }", "owner: \"999:999\""),
            ("{ seed: s, owner: '1:2:3' }", "owner: \"999:999\""),
            ("{ seed: s, owner: 'a b:c' }", "owner: \"999:999\""),
            ("{ seed: s, owner: '-1:0' }", "owner: \"999:999\""),
            ("{ seed: s, owner: '4294967295:0' }", "numbers end at 4294967294"),
            ("{ owner: '1:1' }", "`owner` is that of the volume's first content"),
            ("{ mode: '0750' }", "like `seed: seed/pgdata`"),
            ("{ seed: s, onwer: '1:1' }", "did you mean `owner`?"),
        ] {
            let found = refused(text);
            assert!(found.contains(says), "{text}: {found}");
        }
    }
}
