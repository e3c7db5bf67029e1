//! Failures to read a bundle, with their class and hint.

use bundle_format::FormatError;
use ferry_terminal::{Class, Failure, disk, failure};
use manifest_schema::feature::Missing;
use manifest_schema::release::ReleaseError;
use std::path::Path;

/// A bundle that cannot be used.
#[must_use]
pub(crate) fn unusable(error: FormatError, path: &Path) -> anyhow::Error {
    let shown = path.display();
    if let FormatError::Needs(missing) = &error {
        return lacking(missing, path).into();
    }
    let (class, fact, hint) = match &error {
        FormatError::Io { source, .. } if disk::is_broken_medium(source) => (
            Class::Files,
            format!("{shown} cannot be read"),
            "is the stick still plugged in? try another port, or copy the bundle again",
        ),
        FormatError::Io { .. } => (
            Class::Files,
            format!("{shown} cannot be read"),
            "copy the bundle to a disk of this host and name that",
        ),
        FormatError::Untrusted(_) | FormatError::Unsigned(_) => (
            Class::Trust,
            format!("{shown} cannot be trusted"),
            "fetch the bundle again from where it was built",
        ),
        FormatError::Length { .. } => (
            Class::Bundle,
            format!("{shown} was cut short or changed"),
            "copy the bundle again; was the stick full, or pulled out too early?",
        ),
        FormatError::Version { .. } | FormatError::Release(ReleaseError::Version { .. }) => (
            Class::Bundle,
            format!("{shown} was made by a later Ferry"),
            "use the installer that came with the bundle",
        ),
        FormatError::Foreign(_) => (
            Class::Bundle,
            format!("{shown} cannot be used"),
            "name the .fz file that `ferry build` wrote; if this is it, copy it again",
        ),
        _ => (Class::Bundle, format!("{shown} cannot be used"), "copy the bundle again"),
    };
    Failure::new(class, fact).because(error).hint(hint).into()
}

/// A bundle that needs features which this program lacks. Names and versions have passed their syntax.
fn lacking(missing: &Missing, path: &Path) -> Failure {
    let own = env!("CARGO_PKG_VERSION");
    let fact = format!("{} needs what fz {own} does not have: {missing}", path.display());
    let product = missing.product.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
    let hint = format!(
        "fz {} reads it: start ./install from the stick if it is that one, or install the bundle{product} that carries fz first",
        missing.newest()
    );
    Failure::new(Class::Bundle, fact).hint(hint)
}

/// The bundle was good when it was verified, and cannot be read any more.
#[must_use]
pub(crate) fn unreadable(why: &str) -> Failure {
    Failure::new(Class::Bundle, format!("the bundle cannot be read any more: {why}"))
        .hint("is the stick still plugged in? put it back and run the same command again")
}

/// An error of a stage that reads the bundle: it may be the bundle's.
#[must_use]
pub(crate) fn read_again(error: anyhow::Error) -> anyhow::Error {
    let of_bundle = |cause: &(dyn std::error::Error + 'static)| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let read = |error: &FormatError| !matches!(error, FormatError::Output { .. });
        cause.downcast_ref::<FormatError>().is_some_and(read)
            || inner.is_some_and(|inner| inner.is::<FormatError>())
    };
    if error.chain().any(of_bundle) { unreadable(&failure::chain(error.as_ref())).into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::{Trust, UnverifiedBundle};
    use manifest_schema::feature::{FEATURES, Feature};

    /// The fact of a program without these features about a golden bundle of version 2, and the whole failure.
    fn said(name: &str, lacking: &[&str]) -> Option<(String, String)> {
        let bytes = std::fs::read(fixtures::golden::folder_2(name).join(name)).unwrap();
        let mut reader = bytes.as_slice();
        let known: Vec<Feature> =
            FEATURES.iter().copied().filter(|feature| !lacking.contains(&feature.name)).collect();
        let unverified = UnverifiedBundle::read(&mut reader).unwrap();
        let error = unverified.verify_with(&Trust::AnyValid, &known, &mut reader).err()?;
        let error = unusable(error, Path::new(name));
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!((failure.class().code(), error.chain().count()), (4, 1), "one sentence says it all");
        Some((failure.to_string(), format!("{failure:?}")))
    }

    #[test]
    fn a_program_without_a_feature_says_which_and_where_it_is() {
        for (name, lacking, needs, product) in [
            ("serial.fz", &["serial"][..], "`serial` (since 0.2.0)", "serial"),
            ("seed-owner.fz", &["seed-owner"], "`seed-owner` (since 0.2.0)", "seed-owner"),
            ("compose-2.fz", &["compose-2"], "`compose-2` (since 0.2.0)", "compose-2"),
            ("all.fz", &["serial"], "`serial` (since 0.2.0)", "all"),
            ("all.fz", &["seed-owner"], "`seed-owner` (since 0.2.0)", "all"),
            (
                "all.fz",
                &["serial", "seed-owner"],
                "`seed-owner` (since 0.2.0), `serial` (since 0.2.0)",
                "all",
            ),
        ] {
            let (fact, failure) = said(name, lacking).unwrap();
            let own = env!("CARGO_PKG_VERSION");
            assert_eq!(fact, format!("{name} needs what fz {own} does not have: {needs}"));
            let hint = format!(
                "hint: Some(\"fz 0.2.0 reads it: start ./install from the stick if it is that one, or install the bundle \
                 of {product} that carries fz first\")"
            );
            assert!(failure.contains(&hint), "{failure}");
        }
        assert_eq!(said("serial.fz", &["seed-owner"]), None);
        assert_eq!(said("all.fz", &[]), None);
    }
}
