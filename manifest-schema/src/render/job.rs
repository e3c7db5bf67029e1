//! Templates that are rendered together, as a value that another process can be given.

use super::Template;
use crate::Diagnostics;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Templates, with all that they include, and the values for them: everything that rendering needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The templates, in the order of the answers.
    pub templates: Vec<Template>,
    /// Values by name; a key with dots, `ferry.name`, is reached by them.
    pub values: BTreeMap<String, Value>,
}

impl Job {
    /// Renders one template after the other.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.templates.iter().map(|template| template.render(&self.values))
    }
}

/// The result of one template: its output, or its mistakes.
pub type Outcome = Result<String, Diagnostics>;

/// Renders jobs, here or elsewhere.
pub trait Renderer: Debug + Sync {
    /// The output of each template of `job`, in its order.
    ///
    /// # Errors
    /// The mistakes of all templates that were tried, and what ended the rendering before its time.
    fn render(&self, job: &Job) -> Result<Vec<String>, Diagnostics>;
}

/// Renders in this process, without a limit on memory: for tests, and for the process that has limits.
#[derive(Debug, Clone, Copy)]
pub struct InProcess;

impl Renderer for InProcess {
    fn render(&self, job: &Job) -> Result<Vec<String>, Diagnostics> {
        collected(job.outcomes())
    }
}

/// All outputs, or the mistakes of all templates.
///
/// # Errors
/// Where one of `outcomes` is no output.
pub fn collected(outcomes: impl IntoIterator<Item = Outcome>) -> Result<Vec<String>, Diagnostics> {
    let (mut outputs, mut found) = (Vec::new(), Diagnostics::default());
    for outcome in outcomes {
        match outcome {
            Ok(output) => outputs.push(output),
            Err(mistakes) => found.0.extend(mistakes.0),
        }
    }
    found.or_ok(outputs)
}

/// The outputs of `templates`. Those that are plain text are their own output, and do not bother `renderer`.
///
/// # Errors
/// As [`Renderer::render`].
pub(crate) fn render_all(
    templates: Vec<Template>,
    values: &BTreeMap<String, Value>,
    renderer: &dyn Renderer,
) -> Result<Vec<String>, Diagnostics> {
    let plain: Vec<Option<String>> =
        templates.iter().map(|template| template.is_plain().then(|| template.text.clone())).collect();
    let templates: Vec<Template> = templates.into_iter().filter(|template| !template.is_plain()).collect();
    let rendered = if templates.is_empty() {
        Vec::new()
    } else {
        renderer.render(&Job { templates, values: values.clone() })?
    };
    let mut rendered = rendered.into_iter();
    Ok(plain.into_iter().filter_map(|plain| plain.or_else(|| rendered.next())).collect())
}
