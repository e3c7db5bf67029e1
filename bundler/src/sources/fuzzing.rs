//! The readers of image archives and layouts, reachable for the fuzz targets: plain values instead of the types
//! that stay private here.

use super::kept;
use super::tar_scan::{self, Streamed};
use crate::cancel::Cancel;
use crate::read::compression::HEAD_BYTES;
use std::path::Path;

/// One member of a scanned archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name without `./` and without a trailing slash.
    pub name: String,
    /// Where its data starts, in bytes of the archive.
    pub offset: u64,
    /// Bytes of its data.
    pub size: u64,
    /// Its first bytes, at most [`MAX_HEAD_BYTES`].
    pub head: Vec<u8>,
    /// Its whole content, where the scan kept it.
    pub kept: Option<Vec<u8>>,
}

/// One image that an archive or layout offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Names as the source writes them.
    pub names: Vec<String>,
    /// Number of its diff IDs and of its layers, or the reason that it cannot be used.
    pub layers: Result<(usize, usize), String>,
}

/// Most bytes of [`Member::head`].
pub const MAX_HEAD_BYTES: usize = HEAD_BYTES;

/// Scans an uncompressed archive.
///
/// # Errors
/// When it is malformed or cut off.
pub fn scan(archive: &[u8], keep_documents: bool) -> anyhow::Result<Vec<Member>> {
    let found = tar_scan::scan(&mut Streamed(archive), keep_documents, &Cancel::default())?;
    let mut kept = found.kept;
    let members = found.members.into_iter().enumerate();
    Ok(members
        .map(|(index, member)| Member {
            name: member.name,
            offset: member.offset,
            size: member.size,
            head: member.head,
            kept: kept.remove(&index),
        })
        .collect())
}

/// Lists the images of the archive or layout at `path`.
///
/// # Errors
/// When it is neither, or contradicts itself.
pub fn images(path: &Path) -> anyhow::Result<Vec<Offered>> {
    let found = kept::read_images(path, None, &Cancel::default())?;
    Ok(found
        .into_iter()
        .map(|candidate| Offered {
            names: candidate.names,
            layers: candidate
                .content
                .map(|content| (content.diff_ids.len(), content.layers.len()))
                .map_err(|flaw| format!("{flaw:?}")),
        })
        .collect())
}
