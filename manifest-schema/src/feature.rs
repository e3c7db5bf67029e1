//! Features of bundle format 2: what a reader must have to use a bundle.
//!
//! A document of version 2 says what it needs before all else: the name of each feature, and the lowest `fz` that has it,
//! since a reader cannot know the version of what it does not know (`bundle-format/FORMAT.md`, section 12). Features have no order:
//! a reader has a list of them, as a value, and refuses a bundle with the names of all that it lacks.

use crate::limits::MAX_NEEDS;
use crate::names::ProjectName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A feature that this code has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Its name in `needs`.
    pub name: &'static str,
    /// The lowest version of `fz` that has it.
    pub since: &'static str,
}

/// Level 2 of COMPOSE.md: a key, value or meaning of a Compose file that 0.1.0 does not have, or has otherwise.
pub const COMPOSE_2: Feature = Feature { name: "compose-2", since: "0.2.0" };

/// `owner` and `mode` of a volume's first content: the tar's last `./` counts.
pub const SEED_OWNER: Feature = Feature { name: "seed-owner", since: "0.2.0" };

/// `serial`: the order of versions that are no semantic ones.
pub const SERIAL: Feature = Feature { name: "serial", since: "0.2.0" };

/// All features of this code, by name. They are features of `ferry.json`; the index has none.
pub const FEATURES: &[Feature] = &[COMPOSE_2, SEED_OWNER, SERIAL];

/// The feature that holds what a Compose file says at this level; none for 1, which every reader has.
#[must_use]
pub const fn of_compose(level: u8) -> Option<Feature> {
    match level {
        0 | 1 => None,
        _ => Some(COMPOSE_2),
    }
}

/// A feature that a document needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// The feature.
    pub feature: FeatureName,
    /// The lowest version of `fz` that has it.
    pub fz: ProgramVersion,
}

/// 1 to 32 characters, `[a-z][a-z0-9-]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeatureName(String);

/// Three numbers without leading zeros, `0.5.0`: 32 bits each, up to 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProgramVersion([u32; 3]);

/// The text is no name of a feature, or no version of a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadNeed(&'static str);

/// Features that a bundle needs and a reader lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The product, where its name is known.
    pub product: Option<ProjectName>,
    /// By name, at least one.
    pub needs: Vec<Need>,
}

impl Feature {
    /// The entry of a document that uses it.
    #[must_use]
    pub fn need(self) -> Option<Need> {
        let feature = self.name.to_owned().try_into().ok()?;
        Some(Need { feature, fz: self.since.to_owned().try_into().ok()? })
    }
}

impl FeatureName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FeatureName {
    type Error = BadNeed;
    fn try_from(text: String) -> Result<Self, BadNeed> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
        if begins && text.len() <= 32 && text.bytes().all(good) {
            Ok(Self(text))
        } else {
            Err(BadNeed("a feature has 1 to 32 lower-case letters, digits and `-`, and begins with a letter"))
        }
    }
}

impl From<FeatureName> for String {
    fn from(name: FeatureName) -> Self {
        name.0
    }
}

impl TryFrom<String> for ProgramVersion {
    type Error = BadNeed;
    fn try_from(text: String) -> Result<Self, BadNeed> {
        let number = |part: &str| {
            let plain =
                part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            part.parse().ok().filter(|_| plain)
        };
        let numbers: Option<Vec<u32>> = text.split('.').take(4).map(number).collect();
        let numbers = numbers.filter(|_| text.len() <= 32).and_then(|numbers| numbers.try_into().ok());
        numbers.map(Self).ok_or(BadNeed("a version of `fz` has three numbers, as in `0.5.0`"))
    }
}

impl From<ProgramVersion> for String {
    fn from(version: ProgramVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for ProgramVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Missing {
    /// The version of `fz` that has them all.
    #[must_use]
    pub fn newest(&self) -> String {
        self.needs.iter().map(|need| &need.fz).max().map(ToString::to_string).unwrap_or_default()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Need { feature, fz }) in self.needs.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}`{}` (since {fz})", feature.as_str())?;
        }
        Ok(())
    }
}

/// The needs of a document beyond the `known` features.
///
/// # Errors
/// When there are too many, they are not sorted by name, or one is there twice.
pub fn missing(
    needs: &[Need],
    known: &[Feature],
    product: Option<ProjectName>,
) -> Result<Option<Missing>, String> {
    if needs.len() > MAX_NEEDS {
        return Err(format!("it needs {} features; the limit is {MAX_NEEDS}", needs.len()));
    }
    if !needs.is_sorted_by(|one, next| one.feature < next.feature) {
        return Err("its needs are not sorted by name, each once".to_owned());
    }
    let has = |need: &Need| known.iter().any(|feature| feature.name == need.feature.as_str());
    let needs: Vec<Need> = needs.iter().filter(|need| !has(need)).cloned().collect();
    Ok((!needs.is_empty()).then_some(Missing { product, needs }))
}

/// Needs in the order of a document.
#[must_use]
pub fn needs(features: &[Feature]) -> Vec<Need> {
    let mut needs: Vec<Need> = features.iter().filter_map(|feature| feature.need()).collect();
    needs.sort_by(|one, other| one.feature.cmp(&other.feature));
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(feature: &str, fz: &str) -> Option<Need> {
        serde_json::from_value(serde_json::json!({ "feature": feature, "fz": fz })).ok()
    }

    #[test]
    fn names_and_versions_that_could_forge_a_line_are_no_needs() {
        for (feature, fz) in
            [("serial", "0.2.0"), ("a", "10.0.4294967295"), (&"a".repeat(32), "1.2.3"), ("a-2", "0.0.0")]
        {
            assert!(need(feature, fz).is_some(), "{feature} {fz}");
        }
        for feature in ["", "A", "2a", "-a", "a\nb", "a b", "ä", &"a".repeat(33), "a\u{202e}"] {
            assert_eq!(need(feature, "0.2.0"), None, "{feature:?}");
        }
        for fz in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.3.4.5",
            "01.2.3",
            "+1.2.3",
            "1.2.-3",
            "1..3",
            "1.2.3\n",
            "4294967296.0.0",
        ] {
            assert_eq!(need("a", fz), None, "{fz:?}");
        }
    }

    #[test]
    fn every_feature_of_this_code_is_a_need_and_they_are_sorted() {
        assert_eq!(needs(FEATURES).len(), FEATURES.len());
        assert!(FEATURES.is_sorted_by_key(|feature| feature.name));
    }

    #[test]
    fn all_that_is_missing_is_named_and_the_version_that_has_it_all() {
        let needs = [("data-epoch", "0.3.0"), ("serial", "0.2.0"), ("update", "0.10.0"), ("zeta", "0.5.0")];
        let needs: Vec<Need> = needs.iter().map(|(feature, fz)| need(feature, fz).unwrap()).collect();
        let found = missing(&needs, FEATURES, None).unwrap().unwrap();
        assert_eq!(
            found.to_string(),
            "`data-epoch` (since 0.3.0), `update` (since 0.10.0), `zeta` (since 0.5.0)"
        );
        assert_eq!(found.newest(), "0.10.0");
        assert_eq!(missing(&needs[1..2], FEATURES, None), Ok(None));
        assert_eq!(missing(&[], &[], None), Ok(None));
        for wrong in [vec![needs[1].clone(), needs[0].clone()], vec![needs[1].clone(); 2]] {
            assert!(missing(&wrong, FEATURES, None).is_err());
        }
        let many: Vec<Need> = (10..43).map(|n| need(&format!("a{n}"), "1.0.0").unwrap()).collect();
        assert!(missing(&many[1..], &[], None).is_ok() && missing(&many, &[], None).is_err());
    }
}
