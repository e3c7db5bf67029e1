//! Single files of an image, looked up in its layers without unpacking them (image-spec 1.1, layer.md).

use super::FoundImage;
use crate::cancel::Cancel;
use crate::read::owner::Owner;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

/// Longest content that is kept: that of `/etc/passwd`, for one.
const MAX_CONTENT_BYTES: u64 = 1 << 20;

/// A file or folder of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFacts {
    pub(crate) owner: Owner,
    pub(crate) is_folder: bool,
    /// Its first bytes, a mebibyte at most.
    pub(crate) content: Vec<u8>,
}

impl FoundImage {
    /// Those of `paths` (`etc/passwd`) that the image has as files or folders, and not behind a link. Layers are read
    /// from the top, until everything is known.
    ///
    /// # Errors
    /// When a layer cannot be read.
    pub(crate) fn files(
        &self,
        paths: &BTreeSet<String>,
        cancel: &Cancel,
    ) -> anyhow::Result<BTreeMap<String, FileFacts>> {
        let mut found = BTreeMap::new();
        let mut wanted = paths.clone();
        for layer in self.layers.iter().rev() {
            if wanted.is_empty() {
                break;
            }
            let looked = look(cancel.reader(layer.open()?), &wanted)?;
            wanted.retain(|path| !looked.found.contains_key(path) && !looked.hides(path));
            found.extend(looked.found.into_iter().filter_map(|(path, facts)| Some((path, facts?))));
        }
        Ok(found)
    }
}

/// One layer's word on the paths that are looked for.
#[derive(Default)]
struct Looked {
    /// `None`: it is neither a file nor a folder.
    found: BTreeMap<String, Option<FileFacts>>,
    /// Paths that are not seen in the layers below, nor is anything below them.
    hidden: BTreeSet<String>,
}

impl Looked {
    fn hides(&self, path: &str) -> bool {
        let mut ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        ends.any(|end| path.get(..end).is_some_and(|above| self.hidden.contains(above)))
    }
}

fn look(layer: impl Read, wanted: &BTreeSet<String>) -> io::Result<Looked> {
    let mut looked = Looked::default();
    for entry in tar::Archive::new(layer).entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let Some((name, above)) = parts.split_last() else { continue };
        let path = parts.join("/");
        let is_folder = entry.header().entry_type().is_dir();
        match name.strip_prefix(".wh.") {
            // What this layer has below the folder itself is found before it is hidden.
            Some(".wh..opq") => {
                looked.hidden.insert(above.join("/"));
            }
            Some(gone) => {
                looked.hidden.insert([above, &[gone]].concat().join("/"));
            }
            None if wanted.contains(&path) => {
                let facts = facts(&mut entry)?;
                looked.found.insert(path, facts);
            }
            // A file or a link where a folder would have to be.
            None if !is_folder && wanted.iter().any(|wanted| wanted.starts_with(&format!("{path}/"))) => {
                looked.hidden.insert(path);
            }
            None => {}
        }
    }
    Ok(looked)
}

fn facts(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Option<FileFacts>> {
    let kind = entry.header().entry_type();
    if !kind.is_dir() && !kind.is_file() {
        return Ok(None);
    }
    let owner = Owner::of(entry)?;
    let mut content = Vec::new();
    entry.take(MAX_CONTENT_BYTES).read_to_end(&mut content)?;
    Ok(Some(FileFacts { owner, is_folder: kind.is_dir(), content }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixtures::layer::Layer;

    fn paths(paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_layer_tells_what_it_has_and_what_it_hides() {
        let layer = Layer::new()
            .folder("data", 0o2750)
            .owner("data", 1000, 1001)
            .file("etc/passwd", 0o644, "app:x:1000:1001::/:/bin/sh\n")
            .symlink("var/run", "/run")
            .whiteout("srv/gone")
            .file("opt/.wh..wh..opq", 0o644, "");
        let wanted =
            paths(&["data", "etc/passwd", "etc/group", "var/run/x", "srv/gone/x", "srv/goner", "opt/x"]);
        let looked = look(&layer.to_bytes().unwrap()[..], &wanted).unwrap();
        let data = looked.found["data"].clone().unwrap();
        assert_eq!((data.owner, data.is_folder), (Owner { uid: 1000, gid: 1001, mode: 0o2750 }, true));
        let passwd = looked.found["etc/passwd"].clone().unwrap();
        assert_eq!((passwd.is_folder, &passwd.content[..3]), (false, &b"app"[..]));
        assert_eq!(looked.found.len(), 2);
        for hidden in ["var/run/x", "srv/gone/x", "opt/x"] {
            assert!(looked.hides(hidden), "{hidden}");
        }
        for seen in ["etc/group", "srv/goner"] {
            assert!(!looked.hides(seen), "{seen}");
        }
    }
}
