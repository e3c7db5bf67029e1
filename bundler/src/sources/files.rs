//! Single files of an image, looked up in its layers without unpacking them (image-spec 1.1, layer.md).

use super::FoundImage;
use crate::cancel::Cancel;
use crate::read::owner::Owner;
use bundle_format::layer;
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
        for source in self.layers.iter().rev() {
            if wanted.is_empty() {
                break;
            }
            let looked = layer::look(cancel.reader(source.open()?), &wanted, facts)?;
            wanted.retain(|path| !looked.decides(path));
            found.extend(looked.found.into_iter().filter_map(|(path, facts)| Some((path, facts?))));
        }
        Ok(found)
    }
}

/// `None`: it is neither a file nor a folder.
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

    #[test]
    fn files_and_folders_have_facts_and_links_have_none() {
        let layer = Layer::new()
            .folder("data", 0o2750)
            .owner("data", 1000, 1001)
            .file("etc/passwd", 0o644, "app:x:1000:1001::/:/bin/sh\n")
            .symlink("var/run", "/run");
        let wanted = ["data", "etc/passwd", "var/run"].map(str::to_owned).into();
        let looked = layer::look(&layer.to_bytes().unwrap()[..], &wanted, facts).unwrap();
        let data = looked.found["data"].clone().unwrap();
        assert_eq!((data.owner, data.is_folder), (Owner { uid: 1000, gid: 1001, mode: 0o2750 }, true));
        let passwd = looked.found["etc/passwd"].clone().unwrap();
        assert_eq!((passwd.is_folder, &passwd.content[..3]), (false, &b"app"[..]));
        assert_eq!((looked.found.len(), &looked.found["var/run"]), (3, &None));
    }
}
