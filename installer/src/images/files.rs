//! Places in an image that hold files, told from the bundle's layers before the engine has them.

use bundle_format::bundle::SpanReader;
use bundle_format::{Bundle, ReadAt};
use manifest_schema::release::Image;
use std::collections::BTreeSet;
use std::io::{self, Read};

/// Those of `paths` (absolute, in the container) where `image` has an ordinary file. A layer that cannot be read, or
/// is kept compressed, tells nothing, and those below it neither: a damaged one is told of when it is imported.
#[must_use]
pub(crate) fn files<S: ReadAt>(
    bundle: &Bundle<S>,
    image: &Image,
    paths: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut wanted = paths.clone();
    let mut files = BTreeSet::new();
    for blob in image.blobs().iter().rev() {
        if wanted.is_empty() {
            break;
        }
        let layer = bundle.release().layer(blob).and_then(|layer| SpanReader::new(bundle, layer.span).ok());
        let Some(Ok(said)) = layer.map(|layer| look(layer, &wanted)) else { break };
        wanted.retain(|path| !said.decides(path));
        files.extend(said.files);
    }
    files
}

/// One layer's word on the paths that are looked for, which begin with `/`.
#[derive(Debug, Default)]
struct Said {
    files: BTreeSet<String>,
    /// Paths that the layer has, or hides with all below them.
    known: BTreeSet<String>,
    hidden: BTreeSet<String>,
}

impl Said {
    /// Layers below say nothing about `path` any more.
    fn decides(&self, path: &str) -> bool {
        let mut ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let above = |end| path.get(..end).is_some_and(|above| self.hidden.contains(above));
        self.known.contains(path) || ends.any(above)
    }
}

/// Reads a layer (OCI Image Layer Specification, "Whiteouts").
fn look(layer: impl Read, wanted: &BTreeSet<String>) -> io::Result<Said> {
    let mut said = Said::default();
    for entry in tar::Archive::new(layer).entries()? {
        let entry = entry?;
        let kind = entry.header().entry_type();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut path = String::new();
        for part in name.split('/').filter(|part| !matches!(*part, "" | ".")) {
            path.push('/');
            path.push_str(part);
        }
        let (above, last) = path.rsplit_once('/').unwrap_or_default();
        match last.strip_prefix(".wh.") {
            Some(".wh..opq") => _ = said.hidden.insert(above.to_owned()),
            Some(gone) => _ = said.hidden.insert(format!("{above}/{gone}")),
            None if wanted.contains(&path) => {
                if kind.is_file() || kind.is_hard_link() {
                    said.files.insert(path.clone());
                }
                said.known.insert(path);
            }
            // A file or a link where a folder would have to be.
            None if !kind.is_dir() && wanted.iter().any(|wanted| wanted.starts_with(&format!("{path}/"))) => {
                said.hidden.insert(path);
            }
            None => {}
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixtures::layer::Layer;

    #[test]
    fn a_layer_tells_where_files_are() {
        let layer = Layer::new()
            .folder("data", 0o755)
            .file("etc/timezone", 0o644, "UTC")
            .symlink("etc/localtime", "/usr/share/zoneinfo/UTC")
            .symlink("var/run", "/run")
            .whiteout("srv/gone")
            .file("opt/.wh..wh..opq", 0o644, "");
        let all =
            ["/data", "/etc/timezone", "/etc/localtime", "/var/run/x", "/srv/gone/x", "/srv/goner", "/opt/x"];
        let wanted: BTreeSet<String> = all.map(str::to_owned).into();
        let said = look(&layer.to_bytes().unwrap()[..], &wanted).unwrap();
        assert_eq!(said.files, ["/etc/timezone".to_owned()].into());
        let open: Vec<&String> = wanted.iter().filter(|path| !said.decides(path)).collect();
        assert_eq!(open, ["/srv/goner"], "what layers below may still say");
    }
}
