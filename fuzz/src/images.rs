//! Image archives and layouts as strangers' tools write them.

use bundler::fuzzing;
use manifest_schema::Digest;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder of this process: in `TMPDIR` where that is set, else in memory where the system has room there.
/// [`tidy`] removes it.
pub(crate) fn scratch() -> Option<&'static Path> {
    let make = || {
        let memory = Path::new("/dev/shm");
        let in_memory = std::env::var_os("TMPDIR").is_none() && memory.is_dir();
        let parent = if in_memory { memory.to_owned() } else { std::env::temp_dir() };
        Some(tempfile::Builder::new().prefix("ferry-fuzz-").tempdir_in(parent).ok()?.keep())
    };
    SCRATCH.get_or_init(make).as_deref()
}

static SCRATCH: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Removes what the targets of this process have written, while none of them runs.
pub fn tidy() {
    if let Some(Some(folder)) = SCRATCH.get() {
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// Scans an image archive, with documents and without.
pub fn archive(data: &[u8]) -> bool {
    let (plain, keeping) = (fuzzing::scan(data, false), fuzzing::scan(data, true));
    let (Ok(plain), Ok(keeping)) = (&plain, &keeping) else {
        assert_eq!(plain.is_ok(), keeping.is_ok(), "keeping documents decides: {plain:?} {keeping:?}");
        return false;
    };
    assert_eq!(plain.len(), keeping.len());
    let mut end = 512;
    for (member, kept) in plain.iter().zip(keeping) {
        assert_eq!((&member.name, member.offset, member.size), (&kept.name, kept.offset, kept.size));
        assert!(
            member.name.split('/').all(|part| !matches!(part, "." | "..")) && !member.name.starts_with('/')
        );
        assert!(member.offset >= end && member.offset % 512 == 0, "members lie over each other");
        end = member.offset + member.size;
        let range = member.offset as usize..end as usize;
        let content = data.get(range);
        assert!(content.is_some(), "a member lies outside the archive");
        let content = content.unwrap_or_default();
        assert!(member.head.len() <= fuzzing::MAX_HEAD_BYTES && content.starts_with(&member.head));
        assert!(kept.kept.as_deref().is_none_or(|kept| kept == content));
    }
    true
}

/// Reads the images of an archive whose members are made from `data`.
///
/// A line `==> NAME` begins a member. The name `#N` is that of a blob: `blobs/sha256/` and its digest; and `#N`
/// in what stands before it becomes `sha256:` and that digest, so that documents can name each other truly.
pub fn oci_layout(data: &[u8]) -> bool {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let place = || scratch().map(|folder| folder.join("images.tar"));
    let Some(path) = FILE.get_or_init(place) else { unreachable!("there is no temporary folder") };
    let Some(tar) = tar_of(&members(data)) else { return false };
    let written =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, tar));
    assert!(written.is_ok(), "the archive could not be written: {written:?}");
    let images = match fuzzing::images(path) {
        Ok(images) => images,
        Err(error) => {
            assert!(!format!("{error:#}").is_empty());
            return false;
        }
    };
    for image in images {
        if let Ok((diff_ids, layers)) = image.layers {
            assert_eq!(diff_ids, layers, "an image has layers without a diff ID");
            assert!(layers <= manifest_schema::limits::MAX_LAYERS);
        }
    }
    true
}

/// Names and contents, the digests filled in from the last member to the first.
fn members(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        match (line.strip_prefix(b"==> "), members.last_mut()) {
            (Some(name), _) => {
                members.push((String::from_utf8_lossy(name).trim_end().to_owned(), Vec::new()))
            }
            (None, Some((_, content))) => content.extend(line),
            (None, None) => {}
        }
    }
    members.truncate(32);
    let mut digests: Vec<(String, Digest)> = Vec::new();
    for (name, content) in members.iter_mut().rev() {
        if content.ends_with(b"\n") {
            content.pop();
        }
        for (mark, digest) in &digests {
            if let Ok(text) = std::str::from_utf8(content)
                && text.contains(mark.as_str())
            {
                *content = text.replace(mark, &digest.to_string()).into_bytes();
            }
        }
        if name.starts_with('#') && name.len() > 1 && !digests.iter().any(|(mark, _)| mark == name) {
            let digest = Digest::of(content);
            let mark = std::mem::replace(name, format!("blobs/sha256/{}", digest.hex()));
            digests.push((mark, digest));
        }
    }
    members
}

fn tar_of(members: &[(String, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        // `a -> b` is a link.
        match name.split_once(" -> ") {
            Some((name, target)) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, name, target).ok()?;
            }
            None => tar.append_data(&mut header, name, content.as_slice()).ok()?,
        }
    }
    tar.into_inner().ok()
}
