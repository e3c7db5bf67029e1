//! Reads a run of frames ahead on several threads and hands them out in order: one layer is
//! decompressed on all cores while it is being sent.

use crate::bundle::Bundle;
use crate::error::Result;
use crate::frame::FrameDecompressor;
use crate::read_at::ReadAt;
use crossbeam_channel::{Receiver, bounded};
use manifest_schema::release::Span;
use std::ops::Range;
use std::sync::Arc;

/// Content, or the frames as they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The frames' content.
    Content,
    /// The frames' own bytes, hashed but not decompressed.
    Compressed,
}

/// An iterator over frames, or over their content, in order.
pub struct ReadAhead {
    /// One receiver for each thread; frame `n` comes from thread `n % threads`. A thread holds one frame
    /// until it is taken, and no queue of them.
    lanes: Vec<Receiver<Result<Vec<u8>>>>,
    turn: usize,
    skip: usize,
    left: u64,
}

impl ReadAhead {
    /// Reads the content of `span`, `threads` frames at a time.
    ///
    /// # Errors
    /// When the span lies outside the payload.
    pub fn content<S: ReadAt + 'static>(bundle: &Arc<Bundle<S>>, span: Span, threads: usize) -> Result<Self> {
        let (frames, skip) = bundle.frames_of(span)?;
        Ok(Self::start(bundle, frames, Form::Content, threads, skip as usize, span.size))
    }

    /// Reads the bytes of `frames` as they lie in the file.
    #[must_use]
    pub fn compressed<S: ReadAt + 'static>(
        bundle: &Arc<Bundle<S>>,
        frames: Range<usize>,
        threads: usize,
    ) -> Self {
        Self::start(bundle, frames, Form::Compressed, threads, 0, u64::MAX)
    }

    fn start<S: ReadAt + 'static>(
        bundle: &Arc<Bundle<S>>,
        frames: Range<usize>,
        form: Form,
        threads: usize,
        skip: usize,
        left: u64,
    ) -> Self {
        let threads = threads.clamp(1, frames.len().max(1));
        let lanes = (0..threads).map(|lane| {
            let (sender, receiver) = bounded(0);
            let (bundle, frames) = (Arc::clone(bundle), frames.clone());
            std::thread::spawn(move || {
                let mut reader = FrameReader::new(form);
                for number in frames.skip(lane).step_by(threads) {
                    let result = reader
                        .as_mut()
                        .map_err(|error| error.take())
                        .and_then(|reader| reader.read(&bundle, number));
                    let failed = result.is_err();
                    // A closed channel means that nobody wants the rest.
                    if sender.send(result).is_err() || failed {
                        return;
                    }
                }
            });
            receiver
        });
        Self { lanes: lanes.collect(), turn: 0, skip, left }
    }
}

struct FrameReader {
    decompressor: Option<FrameDecompressor>,
    compressed: Vec<u8>,
}

/// An error that is handed out once.
struct Once(Option<crate::error::FormatError>);

impl Once {
    fn take(&mut self) -> crate::error::FormatError {
        self.0.take().unwrap_or_else(|| crate::error::FormatError::inconsistent("zstd could not be prepared"))
    }
}

impl FrameReader {
    fn new(form: Form) -> std::result::Result<Self, Once> {
        let decompressor = match form {
            Form::Content => Some(FrameDecompressor::new().map_err(|error| Once(Some(error)))?),
            Form::Compressed => None,
        };
        Ok(Self { decompressor, compressed: Vec::new() })
    }

    fn read<S: ReadAt>(&mut self, bundle: &Bundle<S>, number: usize) -> Result<Vec<u8>> {
        let entry = bundle.read_frame(number, &mut self.compressed)?;
        match &mut self.decompressor {
            Some(decompressor) => decompressor.decompress(&self.compressed, entry.content_bytes),
            None => Ok(std::mem::take(&mut self.compressed)),
        }
    }
}

impl Iterator for ReadAhead {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let lane = self.lanes.get(self.turn)?;
        let mut content = match lane.recv() {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => {
                self.left = 0;
                return Some(Err(error));
            }
            Err(_) => return None,
        };
        self.turn = (self.turn + 1) % self.lanes.len();
        let skip = std::mem::take(&mut self.skip);
        if skip > 0 {
            content.drain(..skip.min(content.len()));
        }
        if content.len() as u64 > self.left {
            content.truncate(self.left as usize);
        }
        self.left -= content.len() as u64;
        Some(Ok(content))
    }
}
