//! `ferry inspect`: what a bundle holds, from its head and its texts alone — from a pipe, too.

mod services;

use crate::inputs::renderings;
use anyhow::Result;
use bundle_format::bundle::Verified;
use bundle_format::texts::{self, Texts};
use bundle_format::{Bundle, FormatError, Part, Trust, UnverifiedBundle};
use ferry_terminal::{Output, human};
use manifest_schema::Digest;
use manifest_schema::compose::Reserved;
use manifest_schema::compose::model::{Permission, Project, permissions};
use manifest_schema::feature::{FEATURES, Feature, Missing};
use manifest_schema::manifest::{Manifest, in_order};
use manifest_schema::release::{ArtifactKind, FileEntry, Image, Manifests, Release};
use manifest_schema::render::Renderer;
use manifest_schema::site;
use serde_json::json;
use std::fmt::Write as _;
use std::io::Read;

/// A bundle as far as its first frames show it.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub bundle: Verified,
    /// `ferry.yaml`, unless the bundle ends before it.
    pub manifest: Option<Manifest>,
    /// Its services, with the defaults and with stand-ins for answers that only a site knows; unless the bundle ends
    /// before its texts, they are too large, or they make no release.
    pub project: Option<Project>,
}

/// A bundle that needs features which this program lacks: as much as is known of it.
#[derive(Debug, thiserror::Error)]
#[error("{missing}")]
pub(crate) struct Unread {
    id: Digest,
    signed_by: Vec<String>,
    pub(crate) missing: Missing,
}

impl Unread {
    /// Id, signers and needs as JSON.
    #[must_use]
    pub(crate) fn to_json(&self) -> serde_json::Value {
        json!({ "id": self.id, "signed_by": self.signed_by, "needs": self.missing.needs })
    }

    /// Id and signers for people.
    #[must_use]
    pub(crate) fn to_tree(&self) -> String {
        let signers = self.signed_by.iter();
        let signers = signers
            .map(|signer| format!("\nsigned by  {signer}  (valid; compare it with the delivery note)"));
        format!("id         {}{}", self.id, signers.collect::<String>())
    }
}

/// No more than this is read for the texts, which Ferry writes into the first data frames.
const MAX_AHEAD: u64 = 32 << 20;

/// Reads the head and the texts; the signature must be valid, by whomever it was made.
///
/// # Errors
/// When it is not a bundle, or its head is damaged or not signed.
pub(crate) fn read(reader: &mut dyn Read, renderer: &dyn Renderer) -> Result<Beginning> {
    read_with(reader, renderer, FEATURES)
}

/// The same for a program that has only the `known` features.
fn read_with(reader: &mut dyn Read, renderer: &dyn Renderer, known: &[Feature]) -> Result<Beginning> {
    let unverified = UnverifiedBundle::read(reader)?;
    let (id, signers) = (Digest::of(unverified.index_bytes()), unverified.signers());
    let verified = unverified.verify_with(&Trust::AnyValid, known, reader).map_err(|error| match error {
        FormatError::Needs(missing) => {
            let signed_by = signers.iter().map(|signer| signer.fingerprint().to_string()).collect();
            anyhow::Error::new(Unread { id, signed_by, missing })
        }
        error => error.into(),
    })?;
    let mut last = 0;
    for file in texts_of(verified.release()) {
        last = verified.frames_of(file.span)?.0.end.max(last);
    }
    let index = verified.index();
    let offset = |number| index.file_offset(number).unwrap_or_default();
    let (start, end) = (offset(index.metadata_frames as usize), offset(last));
    let length = end.saturating_sub(start).min(MAX_AHEAD);
    let part = Part::read(reader, start, length, verified.file_bytes());
    let bundle = Bundle::with_source(verified, part)?;
    let texts = Texts::read(&bundle).ok();
    let project = texts.as_ref().and_then(|texts| by_default(texts, renderer));
    let manifest = texts.map(|texts| texts.manifest).or_else(|| texts::manifest(&bundle).ok());
    Ok(Beginning { bundle: bundle.into_verified(), manifest, project })
}

/// The files that make a release with its answers.
fn texts_of(release: &Release) -> impl Iterator<Item = &FileEntry> {
    let alone = [&release.manifest, &release.compose].into_iter().chain(&release.env_file);
    let named = release.compose_files.iter().map(|named| &named.file);
    alone.chain(named).chain(&release.templates).chain(release.configs.iter().map(|config| &config.file))
}

fn by_default(texts: &Texts, renderer: &dyn Renderer) -> Option<Project> {
    let values = renderings::stand_ins(&texts.manifest);
    let names = site::names(&texts.manifest, &values, renderings::HOSTNAME);
    Some(texts.make(None, Reserved::Dropped, renderer, &names).ok()?.parsed.project)
}

/// Compares the length of the file with the one that was signed: frames are not read.
///
/// # Errors
/// [`FormatError::Length`] when the file ends too early or goes on.
pub(crate) fn is_as_long_as_signed(beginning: &Beginning, found: u64) -> Result<(), FormatError> {
    let expected = beginning.bundle.file_bytes();
    if found == expected { Ok(()) } else { Err(FormatError::Length { found, expected }) }
}

/// The bundle as JSON.
#[must_use]
pub(crate) fn to_json(beginning: &Beginning) -> serde_json::Value {
    let Beginning { bundle, manifest, project } = beginning;
    json!({
        "id": bundle.id(),
        "format": bundle.index().version(),
        "file_bytes": bundle.file_bytes(),
        "content_bytes": bundle.index().content_bytes(),
        "frames": bundle.index().frames().len(),
        "signed_by": bundle.signers().iter().map(|signer| json!({
            "fingerprint": signer.fingerprint().to_string(),
            "comment": signer.key().comment(),
        })).collect::<Vec<_>>(),
        "release": bundle.release(),
        "variables": manifest.as_ref().map(|manifest| in_order(&manifest.variables).into_iter().map(|(name, variable)| json!({
            "name": name,
            "type": variable.kind.word(),
            "question": variable.question(),
            "expected": variable.expected(),
            "default": variable.default,
            "generate": variable.generate,
            "when": variable.when,
        })).collect::<Vec<_>>()),
        "services": project.as_ref().map(services::of),
        "permissions": project.as_ref().map(permissions),
    })
}

/// The bundle as a tree for people.
#[must_use]
pub(crate) fn to_tree(beginning: &Beginning, output: Output) -> String {
    let bundle = &beginning.bundle;
    let release = bundle.release();
    let mut text = title(release, output);
    let _ = writeln!(text, "  id         {}", bundle.id());
    for signer in bundle.signers() {
        let _ = writeln!(
            text,
            "  signed by  {}  (valid; compare it with the delivery note)",
            signer.fingerprint()
        );
    }
    let _ = writeln!(
        text,
        "  size       {} in the file, {} unpacked, {}",
        human::bytes(bundle.file_bytes()),
        human::bytes(bundle.index().content_bytes()),
        human::count(bundle.index().frames().len(), "frame")
    );
    version_2(&mut text, release);
    requires(&mut text, release);
    services::tree(&mut text, beginning.project.as_ref().map(services::of).as_deref());
    images(&mut text, release);
    others(&mut text, release);
    variables(&mut text, beginning.manifest.as_ref());
    access(&mut text, beginning.project.as_ref().map(permissions).as_deref());
    origin(&mut text, release);
    text.truncate(text.trim_end().len());
    text
}

fn title(release: &Release, output: Output) -> String {
    format!("{} {}\n", output.bold(release.name.as_str()), human::printable(&release.version))
}

/// Members that version 1 does not have.
fn version_2(text: &mut String, release: &Release) {
    if let Some(serial) = release.serial {
        let _ = writeln!(text, "  serial     {serial}");
    }
    if let Some(needs) = &release.needs {
        let names: Vec<String> =
            needs.iter().map(|need| format!("{} (fz {} or later)", need.feature.as_str(), need.fz)).collect();
        let names = if names.is_empty() { "a reader of version 2".to_owned() } else { names.join(", ") };
        let _ = writeln!(text, "  needs      {names}");
    }
}

fn requires(text: &mut String, release: &Release) {
    let requires = &release.requires;
    let mut needs: Vec<String> = requires.platforms.iter().map(ToString::to_string).collect();
    needs
        .extend(requires.engine.iter().map(|engine| format!("engine {} or later", human::printable(engine))));
    needs.extend(requires.memory_bytes.map(|bytes| format!("{} of memory", human::bytes(bytes))));
    needs.extend(requires.disk_bytes.map(|bytes| format!("{} of disk", human::bytes(bytes))));
    let _ = writeln!(text, "  requires   {}", needs.join(", "));
}

fn images(text: &mut String, release: &Release) {
    let layers: u64 = release.layers.iter().map(|layer| layer.span.size).sum();
    let packed: u64 = release.layers.iter().map(|layer| layer.zstd.size).sum();
    let _ = writeln!(
        text,
        "├─ images: {} in {}, {} ({} packed)",
        release.images.len(),
        human::count(release.layers.len(), "layer"),
        human::bytes(layers),
        human::bytes(packed)
    );
    for (number, image) in release.images.iter().enumerate() {
        let branch = if number + 1 == release.images.len() { "└─" } else { "├─" };
        let kept =
            if matches!(image.manifests, Manifests::Preserved { .. }) { ", byte for byte" } else { "" };
        let _ = writeln!(
            text,
            "│  {branch} {:<32} {:<12} {:>10}  {}{kept}  {}",
            image.reference.to_string(),
            image.platform.to_string(),
            human::bytes(content_bytes(release, image)),
            human::count(image.diff_ids.len(), "layer"),
            image.config.digest.short(),
        );
    }
}

fn content_bytes(release: &Release, image: &Image) -> u64 {
    image.blobs().iter().filter_map(|blob| release.layer(blob)).map(|layer| layer.span.size).sum()
}

fn others(text: &mut String, release: &Release) {
    let _ = writeln!(text, "├─ artifacts: {}", release.artifacts.len());
    for (number, artifact) in release.artifacts.iter().enumerate() {
        let branch = if number + 1 == release.artifacts.len() { "└─" } else { "├─" };
        let kind = match artifact.kind {
            ArtifactKind::File => "file",
            ArtifactKind::Folder => "folder",
            ArtifactKind::Deb => "deb",
            ArtifactKind::Jar => "jar",
            ArtifactKind::Archive => "archive",
            ArtifactKind::Git => "git",
        };
        let commit = artifact
            .commit
            .as_deref()
            .map(|c| format!("  commit {}", human::printable(c)))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "│  {branch} {:<32} {kind:<12} {:>10}  {}{commit}",
            artifact.to.to_string(),
            human::bytes(artifact.bytes),
            human::count(artifact.files as usize, "file"),
        );
    }
    let _ = writeln!(text, "├─ configs: {}", release.configs.len());
    for (number, config) in release.configs.iter().enumerate() {
        let branch = if number + 1 == release.configs.len() { "└─" } else { "├─" };
        let kind = if config.template { "template" } else { "file" };
        let _ = writeln!(
            text,
            "│  {branch} {:<32} {kind:<12} {:>10}",
            config.to.to_string(),
            human::bytes(config.file.span.size)
        );
    }
    let _ = writeln!(text, "├─ volume seeds: {}", release.seeds.len());
    for (number, seed) in release.seeds.iter().enumerate() {
        let branch = if number + 1 == release.seeds.len() { "└─" } else { "├─" };
        let _ = writeln!(
            text,
            "│  {branch} {:<45} {:>10}",
            human::printable(&seed.volume),
            human::bytes(seed.file.span.size)
        );
    }
}

fn variables(text: &mut String, manifest: Option<&Manifest>) {
    let Some(manifest) = manifest else {
        let _ = writeln!(text, "├─ variables: not to be read (the bundle is not whole)");
        return;
    };
    let _ = writeln!(text, "├─ variables: {}", manifest.variables.len());
    for (number, (name, variable)) in in_order(&manifest.variables).into_iter().enumerate() {
        let branch = if number + 1 == manifest.variables.len() { "└─" } else { "├─" };
        let mut kind = variable.expected();
        if let Some(default) = &variable.default {
            let _ = write!(kind, "; {default} by default");
        }
        if let Some(length) = variable.generate {
            let _ = write!(kind, "; {length} characters are generated");
        }
        if let Some(when) = &variable.when {
            let _ = write!(kind, "; only when {when}");
        }
        let question = variable.question().map(|question| format!("  {}", human::printable(question)));
        let _ = writeln!(
            text,
            "│  {branch} {:<20} {}{}",
            human::printable(name),
            human::printable(&kind),
            question.unwrap_or_default()
        );
    }
}

/// Access to the host, by default: other answers may ask for other things.
fn access(text: &mut String, permissions: Option<&[Permission]>) {
    let Some(permissions) = permissions else {
        let _ = writeln!(
            text,
            "├─ access to the host: not known (its texts cannot be read from here, or need answers)"
        );
        return;
    };
    let _ = writeln!(text, "├─ access to the host, by default: {}", permissions.len());
    for (number, permission) in permissions.iter().enumerate() {
        let branch = if number + 1 == permissions.len() { "└─" } else { "├─" };
        let services: Vec<&str> = permission.services.iter().map(|name| name.as_str()).collect();
        let _ = writeln!(
            text,
            "│  {branch} {:<16} {}  {}",
            permission.kind.word(),
            human::printable(&permission.value),
            services.join(", ")
        );
    }
}

fn origin(text: &mut String, release: &Release) {
    let _ = writeln!(text, "└─ built with {}", human::printable(&release.built_with));
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::compose::model::PermissionKind;

    #[test]
    fn of_a_bundle_that_needs_more_the_signers_and_the_id_are_shown() {
        use crate::verbs::verify::classified;
        use manifest_schema::feature::SEED_OWNER;
        use std::path::Path;
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/v2/all.fz");
        let bytes = std::fs::read(golden).unwrap();
        let renderer = &ferry_terminal::confined::CONFINED;
        let error = read_with(&mut bytes.as_slice(), renderer, &[SEED_OWNER]).unwrap_err();
        let unread: Unread = error.downcast().unwrap();
        let whole = UnverifiedBundle::read(&mut bytes.as_slice()).unwrap();
        let (id, signer) = (Digest::of(whole.index_bytes()), whole.signers()[0].fingerprint().to_string());
        let shown =
            format!("id         {id}\nsigned by  {signer}  (valid; compare it with the delivery note)");
        assert_eq!(unread.to_tree(), shown);
        let known =
            json!({ "id": id, "signed_by": [signer], "needs": [{ "feature": "serial", "fz": "0.2.0" }] });
        assert_eq!(unread.to_json(), known);
        let error = classified(FormatError::Needs(unread.missing), Path::new("all.fz"));
        let failure: &ferry_terminal::Failure = error.downcast_ref().unwrap();
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(
            failure.to_string(),
            format!("all.fz needs what ferry {own} does not have: `serial` (since 0.2.0)")
        );
        assert_eq!((failure.class().code(), error.chain().count()), (4, 1));
        assert!(format!("{failure:?}").contains("ferry 0.2.0 reads it"));
    }

    #[test]
    fn what_a_bundle_says_cannot_forge_a_line_or_steer_the_terminal() {
        let hostile = "2.4.0\n  signed by  SHA256:GOOD\x1b[2J\u{202e}";
        let digest = format!("sha256:{}", "0".repeat(64));
        let file = json!({ "path": "x", "digest": digest, "span": { "offset": 0, "size": 0 } });
        let release: Release = serde_json::from_value(json!({
            "ferry": 1, "name": "site", "version": hostile,
            "requires": { "engine": hostile, "platforms": ["linux/amd64"] },
            "manifest": file, "compose": file, "images": [], "layers": [], "configs": [],
            "artifacts": [{
                "from": hostile, "to": "x", "kind": "git", "commit": hostile, "files": 1, "bytes": 1,
                "digest": digest, "entries": { "offset": 0, "size": 0 }
            }],
            "seeds": [{ "volume": hostile, "from": "x", "file": file }],
            "built_with": hostile
        }))
        .unwrap();
        let mut text = title(&release, Output { json: false, quiet: false, rich: false, colour: false });
        requires(&mut text, &release);
        others(&mut text, &release);
        let manifest = |key: &str, value: &str| {
            let value = serde_json::to_string(value).unwrap();
            let text =
                format!("ferry: 1\nname: site\nversion: 1\nvariables: {{ a: {{ {key}: {value} }} }}\n");
            Manifest::parse("ferry.yaml", &text)
        };
        assert!(manifest("prompt", hostile).is_err() && manifest("default", hostile).is_err());
        let pattern = "2\n  signed by  SHA256:GOOD\x1b\u{202e}";
        variables(&mut text, Some(&manifest("pattern", pattern).unwrap()));
        let (kind, services) = (PermissionKind::HostPath, Vec::new());
        access(&mut text, Some(&[Permission { kind, value: format!("/{hostile}"), services }]));
        origin(&mut text, &release);
        assert_eq!(text.matches("SHA256:GOOD").count(), 7, "{text}");
        assert!(!text.lines().any(|line| line.starts_with("  signed by")), "{text}");
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text:?}");
    }
}
