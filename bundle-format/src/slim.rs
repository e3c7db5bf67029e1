//! A bundle without its layers, for a host that has the images already: head, metadata and all other data
//! at their places, holes where the layers were.
//!
//! Invariants: it has the length, the index and the signatures of the whole bundle, so that
//! everything but a layer can be read from it as from the bundle itself, with all checks; every frame that is
//! copied was hashed against the signed index; reading a layer fails as damaged, it never gives zeros.

use crate::bundle::Bundle;
use crate::error::{FormatError, Result};
use crate::read_at::ReadAt;
use crate::seek_table;
use manifest_schema::Digest;
use std::io::{Seek, SeekFrom, Write};

/// Bytes that [`fn@write`] would write.
///
/// # Errors
/// When a layer lies outside the payload, which opening has ruled out.
pub fn bytes<S: ReadAt>(bundle: &Bundle<S>) -> Result<u64> {
    let index = bundle.verified().index();
    let left_out = left_out(bundle)?;
    let kept = index.frames().iter().zip(&left_out).filter(|(_, left_out)| !**left_out);
    let frames: u64 = kept.map(|(frame, _)| u64::from(frame.compressed_bytes)).sum();
    Ok(index.file_offset(0).unwrap_or_default() + frames + seek_table::encoded_bytes(index))
}

/// Writes the bundle without its layers to `out`, which begins empty. Where the layers were nothing is
/// written: files have holes there.
///
/// # Errors
/// When the medium or `out` fails, or a frame is not the one that was signed.
pub fn write<S: ReadAt>(bundle: &Bundle<S>, out: &mut (impl Write + Seek)) -> Result<()> {
    let writing = |error| FormatError::output("writing the bundle without its layers")(error);
    let index = bundle.verified().index();
    let head_bytes = usize::try_from(index.file_offset(0).unwrap_or_default())
        .map_err(|_| FormatError::inconsistent("the head is too large"))?;
    let mut buffer = vec![0; head_bytes];
    // Its signature is checked whenever the file is opened.
    bundle.source().read_exact_at(&mut buffer, 0).map_err(FormatError::io("reading the head"))?;
    out.write_all(&buffer).map_err(writing)?;
    for (number, left_out) in left_out(bundle)?.into_iter().enumerate() {
        if left_out {
            continue;
        }
        bundle.read_frame(number, &mut buffer)?;
        let offset = index.file_offset(number).unwrap_or_default();
        out.seek(SeekFrom::Start(offset)).map_err(writing)?;
        out.write_all(&buffer).map_err(writing)?;
    }
    out.seek(SeekFrom::Start(index.payload_end())).map_err(writing)?;
    out.write_all(&seek_table::encode(index)?).map_err(writing)
}

/// True where `file` holds all that [`fn@write`] would write: every frame but those of layers, and the end.
#[must_use]
pub fn is_whole<S: ReadAt, F: ReadAt>(bundle: &Bundle<S>, file: &F) -> bool {
    let index = bundle.verified().index();
    let (Ok(left_out), Ok(seek)) = (left_out(bundle), seek_table::encode(index)) else { return false };
    let same_length = file.size().is_ok_and(|bytes| bytes == bundle.verified().file_bytes());
    let mut buffer = Vec::new();
    let mut holds = |offset: u64, bytes: usize, digest: Digest| {
        buffer.resize(bytes, 0);
        file.read_exact_at(&mut buffer, offset).is_ok() && Digest::of(&buffer) == digest
    };
    let frames = index.frames().iter().enumerate().zip(left_out).filter(|(_, left_out)| !left_out);
    let mut frames =
        frames.map(|((number, frame), _)| (index.file_offset(number).unwrap_or_default(), frame));
    same_length
        && frames.all(|(offset, frame)| holds(offset, frame.compressed_bytes as usize, frame.digest))
        && holds(index.payload_end(), seek.len(), Digest::of(&seek))
        && same_head(bundle, file)
}

fn same_head<S: ReadAt, F: ReadAt>(bundle: &Bundle<S>, file: &F) -> bool {
    let bytes =
        usize::try_from(bundle.verified().index().file_offset(0).unwrap_or_default()).unwrap_or_default();
    let (mut one, mut other) = (vec![0; bytes], vec![0; bytes]);
    bundle.source().read_exact_at(&mut one, 0).is_ok()
        && file.read_exact_at(&mut other, 0).is_ok()
        && one == other
}

/// For each frame, whether it belongs to a layer.
fn left_out<S: ReadAt>(bundle: &Bundle<S>) -> Result<Vec<bool>> {
    let mut left_out = vec![false; bundle.verified().index().frames().len()];
    for layer in &bundle.release().layers {
        for number in bundle.layer_frames(layer)? {
            if let Some(frame) = left_out.get_mut(number) {
                *frame = true;
            }
        }
    }
    Ok(left_out)
}
