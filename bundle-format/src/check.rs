//! Checks every byte of a bundle, on all cores, and names what is broken.

use crate::bundle::Bundle;
use crate::error::{FormatError, Result};
use crate::frame::{EMPTY_FRAME, SKIPPABLE_HEADER_BYTES};
use crate::read_at::ReadAt;
use crate::seek_table;
use manifest_schema::progress::Progress;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A broken place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broken {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Number of the frame; `None` for the seek table.
    pub frame: Option<usize>,
    /// `damaged`, or why it could not be read.
    pub reason: String,
    /// Contents of the place: names of layers, artifacts and files.
    pub holds: Vec<String>,
}

/// Broken places listed at most: a zeroed stick has one in every frame.
pub(crate) const MAX_LISTED: usize = 100;

/// Checks every frame against the signed index, and the seek table, until `is_cancelled`.
///
/// Returns the broken places in the order of their offsets, at most 100.
///
/// # Errors
/// Only when the check itself cannot be made; broken places are its result.
pub fn check<S: ReadAt>(
    bundle: &Bundle<S>,
    threads: usize,
    progress: &dyn Progress,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Broken>> {
    check_telling(bundle, threads, progress, is_cancelled, &|| {})
}

/// As [`check`], and calls `found` at each broken frame at once: a large bundle on a slow stick takes minutes.
///
/// # Errors
/// As [`check`].
pub fn check_telling<S: ReadAt>(
    bundle: &Bundle<S>,
    threads: usize,
    progress: &dyn Progress,
    is_cancelled: &(dyn Fn() -> bool + Sync),
    found: &(dyn Fn() + Sync),
) -> Result<Vec<Broken>> {
    let index = bundle.verified().index();
    let count = index.frames().len();
    let next = AtomicUsize::new(0);
    let broken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, 16) {
            scope.spawn(|| {
                let mut buffer = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || is_cancelled() {
                        return;
                    }
                    let result = bundle.read_frame(number, &mut buffer);
                    progress.advance(index.frames().get(number).map_or(0, |f| u64::from(f.compressed_bytes)));
                    if let Err(error) = result {
                        found();
                        let reason = match error {
                            FormatError::Io { source, .. } => source.to_string(),
                            _ => "its bytes differ from the signed ones".to_owned(),
                        };
                        let place = Broken {
                            offset: index.file_offset(number).unwrap_or_default(),
                            frame: Some(number),
                            reason,
                            holds: bundle.holders(number),
                        };
                        if let Ok(mut broken) = broken.lock()
                            && broken.len() < MAX_LISTED
                        {
                            broken.push(place);
                        }
                    }
                }
            });
        }
    });
    let mut broken = broken.into_inner().unwrap_or_default();
    broken.sort();
    broken.extend(check_ends(bundle)?);
    Ok(broken)
}

/// The empty frame and HEAD's header at the start, the seek table at the end: both follow from the index.
fn check_ends<S: ReadAt>(bundle: &Bundle<S>) -> Result<Vec<Broken>> {
    let index = bundle.verified().index();
    let mut start = EMPTY_FRAME.to_vec();
    start.extend(crate::frame::skippable_header(crate::frame::HEAD_MAGIC, index.head_bytes));
    debug_assert_eq!(start.len(), EMPTY_FRAME.len() + SKIPPABLE_HEADER_BYTES);
    let end = seek_table::encode(index)?;
    let mut broken = Vec::new();
    for (expected, offset, what) in
        [(start, 0, "the first bytes"), (end, index.payload_end(), "the seek table")]
    {
        let mut found = vec![0; expected.len()];
        let reason = match bundle.source().read_exact_at(&mut found, offset) {
            Ok(()) if found == expected => continue,
            Ok(()) => "its bytes do not follow from the signed index".to_owned(),
            Err(error) => error.to_string(),
        };
        broken.push(Broken { offset, frame: None, reason, holds: vec![what.to_owned()] });
    }
    Ok(broken)
}
