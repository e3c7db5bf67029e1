//! Single places of an image, looked up in the tars of its layers without unpacking them (OCI image-spec 1.1, layer.md).
//!
//! Layers are looked into from the top, until each place is decided. A path has no slash at its ends, `etc/passwd`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

/// The word of one layer on the paths that are looked for.
#[derive(Debug)]
pub struct Looked<T> {
    /// Those that the layer has, each with what was read of it.
    pub found: BTreeMap<String, T>,
    /// Paths that are not seen in the layers below, nor is anything below them.
    hidden: BTreeSet<String>,
}

impl<T> Looked<T> {
    /// Layers below say nothing about `path` any more.
    #[must_use]
    pub fn decides(&self, path: &str) -> bool {
        // An empty path is the root, which hides all.
        let ends = path.match_indices('/').map(|(end, _)| end);
        let mut ends = std::iter::once(0).chain(ends).chain([path.len()]);
        self.found.contains_key(path)
            || ends.any(|end| path.get(..end).is_some_and(|above| self.hidden.contains(above)))
    }
}

/// Looks for the `wanted` paths in the tar of a layer, and reads each that is there with `facts`.
///
/// # Errors
/// When the tar cannot be read, and the errors of `facts`.
pub fn look<R: Read, T>(
    layer: R,
    wanted: &BTreeSet<String>,
    mut facts: impl FnMut(&mut tar::Entry<'_, R>) -> io::Result<T>,
) -> io::Result<Looked<T>> {
    let mut looked = Looked { found: BTreeMap::new(), hidden: BTreeSet::new() };
    for entry in tar::Archive::new(layer).entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let Some((name, above)) = parts.split_last() else { continue };
        let path = parts.join("/");
        let is_folder = entry.header().entry_type().is_dir();
        match name.strip_prefix(".wh.") {
            // What this layer has below the folder itself is found all the same.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(entries: &[(&str, tar::EntryType)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(0);
            if *kind == tar::EntryType::Symlink {
                header.set_link_name("/run").unwrap();
            }
            builder.append_data(&mut header, name, io::empty()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn undecided(layer: &[u8], wanted: &BTreeSet<String>) -> Vec<String> {
        let looked = look(layer, wanted, |_| Ok(())).unwrap();
        wanted.iter().filter(|path| !looked.decides(path)).cloned().collect()
    }

    #[test]
    fn a_layer_tells_what_it_has_and_what_it_hides() {
        use tar::EntryType::{Directory, Regular, Symlink};
        let wanted =
            ["data", "etc/passwd", "etc/group", "var/run/x", "srv/gone/x", "srv/goner", "opt/x", "opt/own"];
        let wanted: BTreeSet<String> = wanted.map(str::to_owned).into();
        let layer = tar(&[
            ("./data/", Directory),
            ("etc/passwd", Regular),
            ("var/run", Symlink),
            ("srv/.wh.gone", Regular),
            ("opt/.wh..wh..opq", Regular),
            ("opt/own", Regular),
        ]);
        let looked = look(&layer[..], &wanted, |entry| Ok(entry.header().entry_type().is_dir())).unwrap();
        let found: Vec<(&str, bool)> = looked.found.iter().map(|(path, is)| (path.as_str(), *is)).collect();
        assert_eq!(found, [("data", true), ("etc/passwd", false), ("opt/own", false)]);
        assert_eq!(undecided(&layer, &wanted), ["etc/group", "srv/goner"]);
        // An opaque root: nothing of the layers below is seen.
        let opaque = tar(&[(".wh..wh..opq", Regular), ("data", Directory)]);
        assert_eq!(undecided(&opaque, &wanted), [""; 0]);
        assert_eq!(undecided(&tar(&[("etc", Directory)]), &wanted).len(), wanted.len());
    }
}
