//! Reads what a person wrote — manifest, Compose file, `.env`, configs, templates, seeds — and checks
//! everything that could otherwise only fail on site. No image is touched before this has passed.

pub(crate) mod answers;
pub(crate) mod carried;
mod checks;
pub(crate) mod mentions;
mod missing;
pub(crate) mod renderings;
pub(crate) mod texts;

use self::carried::ComposeFile;
use self::mentions::Mentions;
use self::renderings::Rendering;
use self::texts::Texts;
use crate::read::folder::read_text;
use crate::sources::Wanted;
use anyhow::Result;
use manifest_schema::compose::{FileUse, NamedFile};
use manifest_schema::manifest::{ConfigSpec, Manifest, SeedSpec};
use manifest_schema::render::Renderer;
use manifest_schema::yaml::Place;
use manifest_schema::{BundlePath, Diagnostic, Diagnostics, ImageRef, Platform};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Everything people wrote, read and checked.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub folder: PathBuf,
    /// The manifest's file as messages name it.
    pub manifest_shown: String,
    pub manifest: Manifest,
    pub manifest_text: String,
    /// The first Compose file's text.
    pub compose_text: String,
    /// Text of `.env` beside the Compose file.
    pub env_text: Option<String>,
    /// The release with the defaults, and with each file in `sites/`.
    pub renderings: Vec<Rendering>,
    /// Files that the Compose files name.
    pub compose_files: Vec<ComposeFile>,
    /// Templates that other templates name, by their paths from the manifest's folder.
    pub templates: Vec<(BundlePath, String)>,
    /// Configs and templates with their content.
    pub configs: Vec<(ConfigSpec, Vec<u8>)>,
    /// Seeds and where they lie.
    pub seeds: Vec<(SeedSpec, PathBuf)>,
    /// Warnings: worth a look, and no obstacle.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks the manifest at `path` (a file, or a folder that holds `ferry.yaml`).
///
/// # Errors
/// All mistakes found, as [`Diagnostics`].
pub(crate) fn read(path: &Path, renderer: &dyn Renderer) -> Result<Inputs> {
    from_texts(Texts::read_all(path)?, renderer)
}

/// Checks what was read.
///
/// # Errors
/// All mistakes found, as [`Diagnostics`].
pub(crate) fn from_texts(texts: Texts, renderer: &dyn Renderer) -> Result<Inputs> {
    let rendered = renderings::all(&texts, renderer);
    let Texts {
        folder,
        shown,
        manifest_text,
        manifest,
        mut compose,
        env_text,
        configs,
        renamed,
        mistakes: mut found,
    } = texts;
    let compose_folder = folder.join(manifest.compose_folder());
    let mentions = Mentions::read(&shown, &manifest_text);
    let mut renderings = match rendered {
        Ok(renderings) => renderings,
        Err(error) => {
            found.0.extend(error.downcast::<Diagnostics>()?.0);
            missing::add(&mut found, &manifest, &mentions, &folder);
            return Err(found.into());
        }
    };

    let mut warnings = Vec::new();
    let seeds = checks::check_seeds(&manifest, &mentions, &folder, &renderings, &mut found);
    let mut compose_files: BTreeMap<BundlePath, ComposeFile> = BTreeMap::new();
    for rendering in &mut renderings {
        let parsed = &mut rendering.made.parsed;
        if renamed {
            // The Compose file's own name is another one then, and nobody has to change it.
            let own = checks::own_names(&parsed.sources);
            parsed.warnings.retain(|warning| !own.iter().any(|name| name.is_at(warning)));
        }
        parsed.files.extend(manifest.override_files().map(|path| NamedFile {
            path: path.to_owned(),
            place: Place::default(),
            used_by: "`compose`".to_owned(),
            kind: FileUse::Compose,
        }));
        warnings.append(&mut parsed.warnings);
        let around = carried::Around {
            manifest: &manifest,
            project: &parsed.project,
            sources: &parsed.sources,
            root: &folder,
            folder: &compose_folder,
        };
        let files = carried::find(&parsed.files, &around, &mut found, &mut warnings);
        carried::check_places(
            (&manifest, &shown, &manifest_text),
            &parsed.files,
            &files,
            &around,
            &mut found,
        );
        compose_files.extend(files.into_iter().map(|file| (file.path.clone(), file)));
        checks::check_platforms(&manifest, &parsed.sources, &parsed.project, &mut found);
        checks::check_needs(&manifest, &parsed.sources, &parsed.project, &mut found);
        checks::check_secrets(&manifest, &parsed.sources, &parsed.project, &mut found);
    }
    warnings.extend(checks::left_out(&renderings));
    warnings.extend(checks::unused_images(&manifest, &shown, &manifest_text, &renderings));
    warnings.extend(checks::needless_version(&manifest, &shown, &manifest_text));
    warnings.extend(checks::unread_override(&manifest, &compose_folder));
    let env_shown = compose_folder.join(".env").display().to_string();
    warnings
        .extend(env_text.as_ref().and_then(|env| checks::unread_compose_file(&manifest, env, &env_shown)));
    // Several renderings find the same.
    let mut said = Vec::new();
    warnings.retain(|warning| {
        !said.contains(warning) && {
            said.push(warning.clone());
            true
        }
    });
    let mut said = Vec::new();
    found.0.retain(|mistake| {
        !said.contains(mistake) && {
            said.push(mistake.clone());
            true
        }
    });
    if !found.0.is_empty() {
        missing::add(&mut found, &manifest, &mentions, &folder);
        return Err(found.into());
    }
    let templates: BTreeSet<String> =
        renderings.iter().flat_map(|rendering| rendering.made.templates.iter().cloned()).collect();
    let templates: Result<Vec<(BundlePath, String)>> = templates
        .into_iter()
        .map(|path| Ok((path.parse()?, read_text(&folder.join(&path)).map_err(Diagnostics::from)?)))
        .collect();
    Ok(Inputs {
        folder,
        manifest_shown: shown,
        manifest_text,
        compose_text: compose.swap_remove(0),
        env_text,
        renderings,
        compose_files: compose_files.into_values().collect(),
        templates: templates?,
        configs,
        seeds,
        warnings,
        manifest,
    })
}

impl Inputs {
    /// The images that the services need, each once, in the order of their names.
    #[must_use]
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: BTreeMap<ImageRef, Wanted> = BTreeMap::new();
        for (rendering, service, name) in checks::image_names(&self.renderings) {
            let Ok(reference) = name.parse::<ImageRef>() else { continue };
            let named = self.manifest.images.iter().find(|image| image.reference == reference);
            let pinned = reference.digest().is_some();
            let wanted = wanted.entry(reference.clone()).or_insert_with(|| Wanted {
                reference,
                platform: None,
                source: named.map(|image| image.source.clone()),
                place: match named {
                    Some(image) => (self.manifest_shown.clone(), image.line),
                    None => {
                        let file = rendering.made.parsed.sources.file(service.place.source);
                        (file.to_owned(), service.place.line)
                    }
                },
                preserve: pinned || named.is_some_and(|image| image.preserve),
            });
            if wanted.platform.is_none() {
                wanted.platform.clone_from(&service.platform);
            }
        }
        wanted.into_values().collect()
    }

    /// Archives of images that are not there, which a build would miss.
    #[must_use]
    pub(crate) fn missing_images(&self) -> Diagnostics {
        let mentions = Mentions::read(&self.manifest_shown, &self.manifest_text);
        Diagnostics(missing::images(&self.manifest, &mentions, &self.folder))
    }

    /// The highest level that the Compose files need, over all renderings.
    #[must_use]
    pub(crate) fn compose_level(&self) -> u8 {
        self.renderings.iter().map(|rendering| rendering.made.parsed.level).max().unwrap_or(1)
    }

    /// Mistakes that know their lines, with the lines themselves.
    #[must_use]
    pub(crate) fn shown_in(&self, mistakes: Diagnostics) -> Diagnostics {
        let mistakes = mistakes.in_text(&self.manifest_shown, &self.manifest_text);
        let sources = self.renderings.iter().map(|rendering| &rendering.made.parsed.sources);
        sources.fold(mistakes, |mistakes, sources| sources.complete(mistakes))
    }

    /// The platforms to pack images for.
    #[must_use]
    pub(crate) fn platforms(&self) -> &[Platform] {
        &self.manifest.requires.platforms
    }
}

#[cfg(test)]
mod tests;
