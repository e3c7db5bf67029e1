//! `ferry verify`: checks every byte of a bundle, on all cores.

use crate::cancel::Cancel;
use anyhow::{Context, Result};
use bundle_format::check::{self, Broken};
use bundle_format::signature::Fingerprint;
use bundle_format::{Bundle, Trust, allowed_signers};
use ferry_terminal::{Class, Failure, human};
use manifest_schema::progress::Progress;
use manifest_schema::release::ReleaseError;
use serde::Serialize;
use std::fs::File;
use std::path::Path;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// SHA-256 of the signed index.
    pub id: manifest_schema::Digest,
    pub name: String,
    pub version: String,
    pub file_bytes: u64,
    pub frames: usize,
    /// Valid signers that were asked for.
    pub signed_by: Vec<String>,
    /// True where a particular signer was asked for.
    pub signer_was_named: bool,
}

/// Whose signature is asked for: fingerprints, an `allowed_signers` file, or anyone's.
///
/// # Errors
/// When the file cannot be read or holds no usable key.
pub(crate) fn trust(fingerprints: &[Fingerprint], allowed: Option<&Path>) -> Result<Trust> {
    if let Some(path) = allowed {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let (signers, bad) = allowed_signers::parse(&text);
        if signers.is_empty() {
            let reasons: Vec<String> = bad.iter().map(ToString::to_string).collect();
            let fact = format!("{} holds no key that can be used: {}", path.display(), reasons.join("; "));
            return Err(Failure::new(Class::Input, fact).into());
        }
        return Ok(Trust::Keys(signers.into_iter().map(|signer| signer.key.key_data().clone()).collect()));
    }
    if fingerprints.is_empty() { Ok(Trust::AnyValid) } else { Ok(Trust::Fingerprints(fingerprints.to_vec())) }
}

/// Checks the bundle at `path`.
///
/// # Errors
/// When it is not a bundle, not trusted, or any byte is not the one that was signed: all broken
/// places are named.
pub(crate) fn verify(
    path: &Path,
    trust: &Trust,
    threads: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Report> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let bundle = Bundle::open(file, trust).map_err(|error| classified(error, path))?;
    progress.begin("verifying", Some(bundle.verified().index().payload_end()));
    let broken = check::check(&bundle, threads, progress, &|| cancel.is_cancelled())
        .map_err(|error| classified(error, path))?;
    if cancel.is_cancelled() {
        return Err(Failure::new(Class::Cancelled, "stopped by Ctrl-C").into());
    }
    if !broken.is_empty() {
        return Err(Failure::new(Class::Bundle, describe_broken(path, &broken))
            .hint(
                "the stick has a bad read or the copy went wrong: copy the bundle again and verify it there",
            )
            .into());
    }
    let verified = bundle.verified();
    progress.end(&format!(
        "{} in {}",
        human::bytes(verified.file_bytes()),
        human::count(verified.index().frames().len(), "frame")
    ));
    Ok(Report {
        id: verified.id(),
        name: bundle.release().name.to_string(),
        version: bundle.release().version.clone(),
        file_bytes: verified.file_bytes(),
        frames: verified.index().frames().len(),
        signed_by: verified.signed_by(),
        signer_was_named: !matches!(trust, Trust::AnyValid),
    })
}

fn describe_broken(path: &Path, broken: &[Broken]) -> String {
    let mut text = format!("{} is damaged in {}", path.display(), human::count(broken.len(), "place"));
    for place in broken.iter().take(20) {
        let frame = place.frame.map_or_else(String::new, |frame| format!("frame {frame}, "));
        let holds = human::printable(&place.holds.join(", "));
        text.push_str(&format!(
            "\n  {frame}offset {} ({}): {holds}: {}",
            place.offset,
            human::bytes(place.offset),
            human::printable(&place.reason)
        ));
    }
    if broken.len() > 20 {
        text.push_str(&format!("\n  and {} more", broken.len() - 20));
    }
    text
}

/// The format's errors with their class and hint.
#[must_use]
pub(crate) fn classified(error: bundle_format::FormatError, path: &Path) -> anyhow::Error {
    use bundle_format::FormatError as E;
    let shown = path.display();
    match &error {
        E::Io { .. } => anyhow::Error::new(error).context(format!("reading {shown}")),
        E::Unsigned(_) => Failure::new(Class::Trust, format!("{shown} cannot be trusted"))
            .because(error)
            .hint("it was damaged or changed on its way: copy it again from where it was built")
            .into(),
        E::Untrusted(_) => Failure::new(Class::Trust, format!("{shown} cannot be trusted"))
            .because(error)
            .hint("compare the fingerprint with the delivery note; name it with --trust SHA256:… if it is right")
            .into(),
        E::Length { .. } => Failure::new(Class::Bundle, format!("{shown} was cut short or changed"))
            .because(error)
            .hint("copy the bundle again; is the stick full, or was it pulled out too early?")
            .into(),
        E::Needs(missing) => {
            let own = env!("CARGO_PKG_VERSION");
            let fact = format!("{shown} needs what ferry {own} does not have: {missing}");
            let hint = format!("ferry {} reads it", missing.newest());
            Failure::new(Class::Bundle, fact).hint(hint).into()
        }
        E::Version { .. } | E::Release(ReleaseError::Version { .. }) => Failure::new(Class::Bundle, format!("{shown} needs a newer Ferry"))
            .because(error)
            .hint("use the program that came with the bundle")
            .into(),
        E::Foreign(_) => Failure::new(Class::Bundle, format!("{shown} cannot be used"))
            .because(error)
            .hint("name the .fz file that `ferry build` wrote; if this is it, copy it again")
            .into(),
        _ => Failure::new(Class::Bundle, format!("{shown} cannot be used"))
            .because(error)
            .hint("copy the bundle again and verify it there")
            .into(),
    }
}
