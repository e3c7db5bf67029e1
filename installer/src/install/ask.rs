//! The questions of a bundle, put to a person before anything is judged by their answers.
//!
//! Invariant: they come from a bundle that was verified and is trusted, and nothing is changed
//! while they are asked.

use crate::host::ProductDir;
use crate::host::answers;
use crate::release::site::{self, Values};
use anyhow::Result;
use bundle_format::Bundle;
use manifest_schema::manifest::{Given, Manifest};
use std::fs::File;

/// The variables to ask about, and their known answers.
#[derive(Clone, Copy)]
pub(crate) struct Questions<'a> {
    /// The manifest of the verified bundle, with its variables.
    pub manifest: &'a Manifest,
    /// Answers given for this run. As far as can be told, they fit.
    pub given: &'a Values,
    /// Answers of earlier installs. They may not fit this bundle.
    pub remembered: &'a Values,
    /// Answers of an install that failed, to be offered again. They may not fit this bundle.
    pub tried: &'a Values,
    /// Called before each question: begins work that goes on while a person answers, and says whether more is to be
    /// asked. Where not, the answers so far are enough.
    pub goes_on: &'a dyn Fn() -> bool,
}

/// Asks a person for missing answers; returns the typed ones.
pub(crate) type Ask<'a> = &'a dyn Fn(&Questions<'_>) -> Result<Values>;

/// The answers `given`, and over them those that a person types. `goes_on` is [`Questions::goes_on`].
///
/// # Errors
/// The error of `ask`: the person stops, or cannot answer.
pub(super) fn with_answers(
    given: &Given,
    bundle: &Bundle<File>,
    product: &ProductDir,
    resumes: bool,
    ask: Ask<'_>,
    goes_on: &dyn Fn() -> bool,
) -> Result<Given> {
    let mut given = given.clone();
    // An unreadable manifest is listed with all other damaged spots of the bundle.
    let Ok(manifest) = site::manifest(bundle) else { return Ok(given) };
    // A mistake on the command line is shown before twenty questions, not after.
    if !given.fits(&manifest.variables) {
        return Ok(given);
    }
    let remembered = answers::remembered(product, &manifest, resumes)?;
    let tried = answers::tried(product)?;
    let questions = Questions {
        manifest: &manifest,
        given: given.values(),
        remembered: &remembered,
        tried: &tried,
        goes_on,
    };
    let answers = ask(&questions)?;
    for (name, value) in answers {
        given.set(&name, value, "answers");
    }
    Ok(given)
}
