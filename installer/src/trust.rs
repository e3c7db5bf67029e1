//! Trusted keys of this host: pinned before, named by a fingerprint from the delivery note, or confirmed by a
//! person who compares and types. A key that lies only on the stick is never trusted silently. Once a key is
//! pinned, another has to be named with `--trust`.

use crate::host::{Root, files, strict};
use anyhow::{Context, Result};
use bundle_format::allowed_signers::AllowedSigner;
use bundle_format::signature::{Fingerprint, Trust, fingerprint};
use bundle_format::{Signer, UnverifiedBundle, allowed_signers};
use ferry_terminal::{Class, Failure, human, whole_file};
use manifest_schema::limits;
use std::path::Path;
use std::time::Duration;

/// How trust was established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A key signed that is pinned for this product.
    Pinned,
    /// `--trust` named the key, or a person confirmed it: it is to be pinned.
    New(Box<Signer>),
}

/// Asks a person to confirm a fingerprint; gives its fingerprint, an empty text where
/// it was not confirmed, or `None` where nobody can be asked.
pub(crate) type Confirm<'a> = &'a dyn Fn(&[Fingerprint]) -> Result<Confirmation>;

/// The answer of a person to a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// This is the one of the delivery note.
    Confirmed(Fingerprint),
    /// None of them was confirmed.
    Refused,
    /// Nobody can be asked.
    NobodyThere,
}

/// Whose signature counts. Whether it counts for the product is only known when the bundle's own
/// word for it has been verified: [`Decision::for_product`].
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    trust: Trust,
    pins: Vec<AllowedSigner>,
    /// A person vouched for the key just now.
    vouched: bool,
}

/// Decides whom to trust for `bundle`, which lies at `path`.
///
/// # Errors
/// When no signer is trusted, and no person vouches for one.
pub(crate) fn decide(
    root: &Root,
    bundle: &UnverifiedBundle,
    path: &Path,
    named: &[Fingerprint],
    confirm: Confirm<'_>,
) -> Result<Decision> {
    choose(pinned(root)?, &bundle.signers(), path, named, confirm)
}

fn choose(
    pins: Vec<AllowedSigner>,
    signers: &[Signer],
    path: &Path,
    named: &[Fingerprint],
    confirm: Confirm<'_>,
) -> Result<Decision> {
    let shown = path.display();
    if signers.is_empty() {
        return Err(Failure::new(Class::Trust, format!("{shown} carries no valid signature"))
            .hint("it was damaged or changed on its way: fetch it again from where it was built")
            .into());
    }
    let found: Vec<Fingerprint> = signers.iter().map(Signer::fingerprint).collect();
    let by = listed(&found);
    let refused = |fact: String, hint: &str| anyhow::Error::from(Failure::new(Class::Trust, fact).hint(hint));
    // A key that is named counts even where others are pinned: what was asked for is never ignored.
    let chosen = if !named.is_empty() {
        named.to_vec()
    } else if signers.iter().any(|signer| pins.iter().any(|pin| is_of(pin, signer))) {
        let trust = Trust::Keys(pins.iter().map(|pin| pin.key.key_data().clone()).collect());
        return Ok(Decision { trust, pins, vouched: false });
    } else if !pins.is_empty() {
        // A stranger's key where a key is expected is no first meeting: nobody is asked to wave it through.
        let keys: Vec<String> = pins
            .iter()
            .map(|pin| {
                let products = human::printable(&pin.principals);
                format!("{} for {products}", fingerprint(pin.key.key_data()))
            })
            .collect();
        return Err(refused(
            format!(
                "{shown} is signed by {by}, which is not pinned on this host; pinned is {}",
                keys.join(" and ")
            ),
            "for a new product, name the key of its delivery note with --trust SHA256:…; for one that runs here, do not install it before the sender confirms the new key by phone",
        ));
    } else {
        match confirm(&found)? {
            Confirmation::Confirmed(fingerprint) => vec![fingerprint],
            Confirmation::Refused => Vec::new(),
            Confirmation::NobodyThere => {
                return Err(refused(
                    format!("no key is pinned on this host yet, and {shown} is signed by {by}"),
                    "compare the fingerprint with the delivery note; if it is the same, run again with --trust SHA256:…",
                ));
            }
        }
    };
    match found.iter().find(|fingerprint| chosen.contains(fingerprint)) {
        Some(fingerprint) => {
            Ok(Decision { trust: Trust::Fingerprints(vec![*fingerprint]), pins, vouched: true })
        }
        None => {
            let fact = if named.is_empty() {
                format!("no key is pinned on this host yet, and {shown} is signed by {by}")
            } else {
                format!("{shown} is signed by {by}, not by the key named with --trust")
            };
            Err(refused(fact, "do not install it: ask the sender by phone which key signs this product"))
        }
    }
}

impl Decision {
    /// Whose signature the reader is to accept.
    #[must_use]
    pub(crate) const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Checks that the trusted `signers` count for `product`, which the bundle at `path` holds: a key that is
    /// pinned for one product says nothing about another.
    ///
    /// # Errors
    /// When their keys are pinned for other products only, and nobody vouched for them now.
    pub(crate) fn for_product(&self, signers: &[Signer], product: &str, path: &Path) -> Result<Origin> {
        let pins = |signer| self.pins.iter().filter(move |pin| is_of(pin, signer));
        if signers.iter().flat_map(pins).any(|pin| pin.is_for(product)) {
            return Ok(Origin::Pinned);
        }
        match signers.first() {
            Some(signer) if self.vouched => Ok(Origin::New(Box::new(signer.clone()))),
            _ => {
                let keys: Vec<Fingerprint> = signers.iter().map(Signer::fingerprint).collect();
                let others: Vec<&str> =
                    signers.iter().flat_map(pins).map(|pin| pin.principals.as_str()).collect();
                let fact = format!(
                    "{} holds the product {product}; its key {} is pinned on this host for {} only",
                    path.display(),
                    listed(&keys),
                    human::printable(&others.join(" and "))
                );
                Err(Failure::new(Class::Trust, fact)
                    .hint(format!(
                        "if the delivery note of {product} names this key, run again with --trust SHA256:…"
                    ))
                    .into())
            }
        }
    }
}

fn is_of(pin: &AllowedSigner, signer: &Signer) -> bool {
    pin.key.key_data() == signer.key().key_data()
}

/// Characters of a fingerprint that a person types to confirm it. Twelve of base64 are 70 bits: a key
/// that is made to end alike is out of reach, which six were not.
pub(crate) const TYPED_CHARS: usize = 12;

/// The one of `found` that ends with what was typed, where enough was typed.
#[must_use]
pub(crate) fn ending_with(found: &[Fingerprint], typed: &str) -> Option<Fingerprint> {
    let typed = typed.trim();
    let enough = typed.chars().count() >= TYPED_CHARS;
    found.iter().find(|fingerprint| enough && fingerprint.to_string().ends_with(typed)).copied()
}

fn listed(fingerprints: &[Fingerprint]) -> String {
    fingerprints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// The keys pinned on this host.
///
/// # Errors
/// When the file is there and cannot be used: an unreadable pin must not look like none.
pub(crate) fn pinned(root: &Root) -> Result<Vec<AllowedSigner>> {
    let path = root.allowed_signers();
    if path.symlink_metadata().is_ok() {
        let faults = strict::faults_of_keys(root);
        if !faults.is_empty() {
            let facts: Vec<String> = faults.iter().map(|fault| fault.fact.clone()).collect();
            let fixes: Vec<String> = faults.into_iter().map(|fault| fault.fix).collect();
            let fact = format!("the keys of this host are not root's alone: {}", facts.join("; "));
            return Err(Failure::new(Class::Trust, fact)
                .hint(format!("look into {}, then {}", path.display(), fixes.join(", ")))
                .into());
        }
    }
    let Some(bytes) = files::read_bounded(&path, limits::MAX_STATE_BYTES)? else { return Ok(Vec::new()) };
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?;
    let (signers, bad) = allowed_signers::parse(&text);
    if signers.is_empty() && !bad.is_empty() {
        let reasons: Vec<String> = bad.iter().map(ToString::to_string).collect();
        let fact = format!("no key in {} can be used: {}", path.display(), reasons.join("; "));
        return Err(Failure::new(Class::Trust, fact)
            .hint("correct the file, or restore it from a backup")
            .into());
    }
    Ok(signers)
}

/// How long another process may take to pin a key.
const PIN_PATIENCE: Duration = Duration::from_secs(10);

/// Pins a key for the installs of the product `principal` to come. Several processes may do so at once.
///
/// # Errors
/// When the file cannot be written, others than root can write it, or another process does not let go of it.
pub(crate) fn pin(root: &Root, principal: &str, signer: &Signer) -> Result<()> {
    let path = root.allowed_signers();
    let folder = path.parent().context("the trust folder")?;
    files::make_private_dir(folder)?;
    let _held = files::lock(&folder.join(".lock"), PIN_PATIENCE)?;
    if pinned(root)?.iter().any(|pin| is_of(pin, signer) && pin.is_for(principal)) {
        return Ok(());
    }
    let mut text = match files::read_bounded(&path, limits::MAX_STATE_BYTES)? {
        Some(bytes) => String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?,
        None => String::new(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&allowed_signers::line(principal, signer.key())?);
    whole_file::write(&path, text.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::signature::{NAMESPACE, valid_signers};
    use ssh_key::{HashAlg, LineEnding, PrivateKey, private::Ed25519Keypair};

    fn signer(seed: u8) -> Signer {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]));
        let signature = key.sign(NAMESPACE, HashAlg::Sha512, b"index").unwrap();
        valid_signers(b"index", &[signature.to_pem(LineEnding::LF).unwrap().into_bytes()]).remove(0)
    }

    fn pin(principals: &str, seed: u8) -> AllowedSigner {
        AllowedSigner { principals: principals.to_owned(), key: signer(seed).key().clone() }
    }

    fn never_asked(_: &[Fingerprint]) -> Result<Confirmation> {
        panic!("somebody was asked")
    }

    const PATH: &str = "site.fz";

    #[test]
    fn a_stranger_is_not_asked_about_where_a_key_is_pinned() {
        let stranger = [signer(2)];
        let error = choose(vec![pin("shop", 1)], &stranger, Path::new(PATH), &[], &never_asked).unwrap_err();
        let (text, failure) = (error.to_string(), error.downcast_ref::<Failure>());
        assert!(
            text.contains(&stranger[0].fingerprint().to_string())
                && text.contains(&signer(1).fingerprint().to_string()),
            "{text}"
        );
        assert!(failure.is_some());
        // Naming the key is the way.
        let named = [stranger[0].fingerprint()];
        let decision =
            choose(vec![pin("shop", 1)], &stranger, Path::new(PATH), &named, &never_asked).unwrap();
        let origin = decision.for_product(&stranger, "shop", Path::new(PATH)).unwrap();
        assert_eq!(origin, Origin::New(Box::new(signer(2))));
    }

    #[test]
    fn a_key_pinned_for_one_product_installs_no_other() {
        let signers = [signer(1)];
        let decide = |principals: &str, named: &[Fingerprint]| {
            choose(vec![pin(principals, 1)], &signers, Path::new(PATH), named, &never_asked).unwrap()
        };
        let origin = |decision: Decision| decision.for_product(&signers, "plant", Path::new(PATH));
        for good in ["plant", "*", "shop,plant"] {
            assert_eq!(origin(decide(good, &[])).unwrap(), Origin::Pinned, "{good}");
        }
        let error = origin(decide("shop", &[])).unwrap_err().to_string();
        assert!(error.contains("product plant") && error.contains("for shop only"), "{error}");
        // `--trust` pins it for this product, too.
        let named = [signers[0].fingerprint()];
        assert_eq!(origin(decide("shop", &named)).unwrap(), Origin::New(Box::new(signer(1))));
        assert_eq!(origin(decide("plant", &named)).unwrap(), Origin::Pinned);
    }

    #[test]
    fn keys_that_are_pinned_at_once_are_all_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(&folder.path().join("ferry")).unwrap();
        let start = std::sync::Barrier::new(12);
        std::thread::scope(|scope| {
            for seed in 0..12 {
                let (root, start) = (&root, &start);
                scope.spawn(move || {
                    start.wait();
                    super::pin(root, &format!("product-{}", seed / 2), &signer(seed)).unwrap();
                    // Once more changes nothing.
                    super::pin(root, &format!("product-{}", seed / 2), &signer(seed)).unwrap();
                });
            }
        });
        let pins = pinned(&root).unwrap();
        assert_eq!(pins.len(), 12);
        for seed in 0..12 {
            let of = pins.iter().find(|pin| is_of(pin, &signer(seed)));
            assert!(of.unwrap().is_for(&format!("product-{}", seed / 2)), "{seed}");
        }
    }

    #[test]
    fn keys_that_others_can_write_are_not_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path()).unwrap();
        super::pin(&root, "shop", &signer(1)).unwrap();
        let trust = folder.path().join("trust");
        for path in [&trust.join("allowed_signers"), &trust, &folder.path().to_path_buf()] {
            let before = path.metadata().unwrap().permissions();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o770)).unwrap();
            let error = pinned(&root).unwrap_err();
            let fact = format!("{} can be written by its group", path.display());
            assert!(error.to_string().contains(&fact), "{error}");
            assert!(super::pin(&root, "plant", &signer(2)).is_err());
            std::fs::set_permissions(path, before).unwrap();
        }
        assert_eq!(pinned(&root).unwrap().len(), 1);
    }

    #[test]
    fn enough_of_a_fingerprint_has_to_be_typed() {
        let found = [signer(1).fingerprint(), signer(2).fingerprint()];
        let second = found[1].to_string();
        let end = |chars: usize| second[second.len() - chars..].to_owned();
        assert_eq!(ending_with(&found, &format!(" {}\n", end(TYPED_CHARS))), Some(found[1]));
        assert_eq!(ending_with(&found, &second), Some(found[1]));
        for wrong in ["", "y", &end(6), &end(TYPED_CHARS - 1), &second[..TYPED_CHARS]] {
            assert_eq!(ending_with(&found, wrong), None, "{wrong}");
        }
    }
}
