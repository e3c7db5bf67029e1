//! Errors of writing a file. Where the file system takes no more, whatever was written, the failure is one of
//! [`Class::Files`] and says where, how much is free there, and how much was to be written.

use crate::disk::Refusal;
use crate::failure::{Class, Failure};
use std::path::Path;

/// `error`, which came of writing `path`, of which up to `needed` bytes were to be written.
#[must_use]
pub fn failed(path: &Path, needed: Option<u64>, error: impl Into<anyhow::Error>) -> anyhow::Error {
    let error = named(path, needed, error.into());
    if error.is::<Failure>() { error } else { error.context(format!("writing {}", path.display())) }
}

/// `error` as one of the file system below `path`, where that takes no more; other errors, and those that have their
/// class, as they are.
#[must_use]
pub fn named(path: &Path, needed: Option<u64>, error: anyhow::Error) -> anyhow::Error {
    match Refusal::in_causes(&error) {
        Some(refusal) if !error.chain().any(|cause| cause.is::<Failure>()) => {
            let failure = Failure::new(Class::Files, refusal.fact(path, needed));
            failure.because(error).hint(refusal.hint()).into()
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;
    use std::io::{Error, ErrorKind};

    #[test]
    fn each_refusal_names_the_file_and_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not/there/site.fz");
        for (kind, fact, hint) in [
            (ErrorKind::StorageFull, "the disk is full: ", "free space"),
            (ErrorKind::QuotaExceeded, "quota is used up: up to 3.00 KiB are to be written", "quota"),
            (ErrorKind::FileTooLarge, "no file that large: up to 3.00 KiB", "exFAT or ext4"),
            (ErrorKind::ReadOnlyFilesystem, "mounted read-only", "mount it writable"),
        ] {
            // As tar and io::copy wrap it.
            let wrapped = Error::new(kind, Error::from(kind));
            let told = failed(&path, Some(3 << 10), wrapped);
            let failure = told.downcast_ref::<Failure>().unwrap();
            let text = format!("{failure} {failure:?}");
            assert!(text.contains(fact) && text.contains(hint) && text.contains("site.fz"), "{text}");
            // Its class stays when more is said of it.
            let again = Err::<(), _>(told).context("saving").unwrap_err();
            assert_eq!(crate::class_of(&named(Path::new("/"), None, again)), Class::Files);
        }
        let denied = failed(&path, None, Error::from(ErrorKind::PermissionDenied));
        assert!(!denied.is::<Failure>() && denied.to_string().starts_with("writing "), "{denied:#}");
    }
}
