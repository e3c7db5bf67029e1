//! Places in an image that hold files, told from the bundle's layers before the engine has them.

use bundle_format::bundle::SpanReader;
use bundle_format::{Bundle, ReadAt, layer};
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
    let mut wanted: BTreeSet<String> = paths.iter().map(|path| inside(path).to_owned()).collect();
    let mut files = BTreeSet::new();
    for blob in image.blobs().iter().rev() {
        if wanted.is_empty() {
            break;
        }
        let tar = bundle.release().layer(blob).and_then(|layer| SpanReader::new(bundle, layer.span).ok());
        let Some(Ok(looked)) = tar.map(|tar| layer::look(tar, &wanted, is_file)) else { break };
        wanted.retain(|path| !looked.decides(path));
        files.extend(looked.found.into_iter().filter_map(|(path, is_file)| is_file.then_some(path)));
    }
    paths.iter().filter(|path| files.contains(inside(path))).cloned().collect()
}

/// A path in the container as layers have it.
fn inside(path: &str) -> &str {
    path.trim_matches('/')
}

fn is_file<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<bool> {
    let kind = entry.header().entry_type();
    Ok(kind.is_file() || kind.is_hard_link())
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
            .symlink("etc/localtime", "/usr/share/zoneinfo/UTC");
        let wanted = ["/data", "/etc/timezone", "/etc/localtime"].map(|path| inside(path).to_owned()).into();
        let looked = layer::look(&layer.to_bytes().unwrap()[..], &wanted, is_file).unwrap();
        let found: Vec<(&str, bool)> = looked.found.iter().map(|(path, is)| (path.as_str(), *is)).collect();
        assert_eq!(found, [("data", false), ("etc/localtime", false), ("etc/timezone", true)]);
    }
}
