//! Variables without a value: each text that names one, and the list that is told at the end.

use super::{MAX_MISTAKES, Reader, without_value};
use crate::Diagnostic;
use crate::yaml::Place;

impl Reader {
    /// Notes variables without a value in the text at `place`, for which nothing stands there, and the name that the
    /// first is like.
    pub(crate) fn note_unset(
        &mut self,
        place: Place,
        names: Vec<String>,
        near: impl FnOnce(&str) -> Option<String>,
    ) {
        let Some(first) = names.first() else { return };
        self.looked += 1;
        if self.looked <= MAX_MISTAKES
            && let Some(near) = near(first)
        {
            self.near.insert(first.clone(), near);
        }
        self.unset.insert(place, names);
    }

    /// The hint for a variable whose name is like that of another.
    pub(crate) fn near_unset(&self, name: &str) -> Option<String> {
        self.near.get(name).map(|near| format!("did you mean `${{{near}}}`?"))
    }

    /// As [`Self::error_in_value`], for a variable without a value.
    pub(crate) fn refuse_unset(&mut self, at: Place, place: Place, message: String, hint: Option<String>) {
        let unset = self.unset.remove(&place);
        self.error_in_value(at, place, message, hint);
        self.unset.extend(unset.map(|names| (place, names)));
        self.unset_is_refused = true;
    }

    /// All variables without a value, by name, each with its first place: the list that is told at the end.
    pub(crate) fn list_unset(&mut self, names: Vec<(String, Place)>) {
        self.unset_names = names;
    }

    /// The list of variables without a value.
    pub(crate) fn unset_names(&self) -> &[(String, Place)] {
        &self.unset_names
    }

    /// The list in words, with lines for `.env`.
    pub(super) fn told_unset(&self) -> Option<Diagnostic> {
        let names = self.unset_names.iter().take(MAX_MISTAKES);
        let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        let more = match self.unset_names.len() - names.len() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let lines: String = names.iter().map(|name| format!("\n    {name}=")).collect();
        let what = if self.unset_is_refused { "" } else { ", and nothing stands in their places" };
        let message = match names.as_slice() {
            [] => return None,
            [_] => format!("{}{}", without_value(&names), what.replace("their places", "its place")),
            _ => {
                let near = |name: &String| {
                    self.near_unset(name).map_or(name.clone(), |near| format!("{name} ({near})"))
                };
                let named: Vec<String> = names.iter().map(near).collect();
                format!(
                    "{} variables have no value{what}: {}{more}",
                    self.unset_names.len(),
                    named.join(", ")
                )
            }
        };
        let mut told = Diagnostic::new(self.sources.file(0), message);
        let them = if names.len() == 1 { "it" } else { "them" };
        told.hint = Some(format!(
            "declare {them} under `variables` in the manifest (`ferry init` writes {them}), or in .env:{lines}"
        ));
        Some(told)
    }

    /// The variables without a value in the text at `place`.
    pub(crate) fn unset_at(&self, place: Place) -> &[String] {
        self.unset.get(&place).map_or(&[], Vec::as_slice)
    }

    /// True for a text that variables without a value, or with an empty one, have made.
    pub(crate) fn is_made_empty(&self, place: Place) -> bool {
        self.made_empty.contains(&place) || !self.unset_at(place).is_empty()
    }

    /// Notes that nothing is left of the text at this place.
    pub(crate) fn note_empty(&mut self, place: Place) {
        self.made_empty.insert(place);
    }
}
