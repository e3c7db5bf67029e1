//! Why packing failed, with its class and hint.

use bundle_format::FormatError;
use ferry_terminal::{Class, Failure, writing};
use std::path::Path;

/// An error of packing for people. What was being packed stays in it. `needed` bytes were to be packed.
pub(super) fn classified(error: anyhow::Error, output: &Path, needed: Option<u64>) -> anyhow::Error {
    // What signing and sources report has its class already.
    if error.chain().any(|cause| cause.is::<Failure>()) {
        return error;
    }
    let shown = output.display();
    let (class, hint) = match error.downcast_ref::<FormatError>() {
        Some(FormatError::Input(_)) => {
            (Class::Input, "nothing was written; make sure that nothing changes the inputs, and build again")
        }
        Some(FormatError::Limit(_)) => {
            (Class::Input, "carry many small files as one archive, or split the product into several bundles")
        }
        // The output failed, and not what was being read for it.
        Some(FormatError::Output { .. }) => {
            let error = error.downcast::<FormatError>().map_or_else(|error| error, anyhow::Error::from);
            return writing::named(output, needed, error);
        }
        _ => return error,
    };
    Failure::new(class, format!("{shown} was not built")).because(error).hint(hint).into()
}

/// An error of signing, for people. A wrong passphrase, say, has its class already.
pub(super) fn unsigned(error: anyhow::Error, output: &Path) -> anyhow::Error {
    if error.chain().any(|cause| cause.is::<Failure>()) {
        return error;
    }
    Failure::new(Class::Trust, format!("{} was not built", output.display()))
        .because(error)
        .hint("check that the key or the ssh-agent that holds it still answers, and build again")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_failure_keeps_what_was_packed_and_has_a_class() {
        let error = Err::<(), _>(FormatError::Input("a has only 3".into()));
        let error = error.context("packing x of artifact y").unwrap_err();
        let told = classified(error, Path::new("site.fz"), None);
        assert_eq!(format!("{told:#}"), "site.fz was not built: packing x of artifact y: a has only 3");
        assert!(told.chain().any(|cause| cause.is::<Failure>()));
        let own = anyhow::Error::from(Failure::new(Class::Usage, "the passphrase is wrong"));
        assert_eq!(classified(own, Path::new("site.fz"), None).to_string(), "the passphrase is wrong");
    }
}
