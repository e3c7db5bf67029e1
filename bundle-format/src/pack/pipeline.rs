//! Compresses frames on all cores and writes them in order, in bounded memory.
//!
//! One thread (the caller's) cuts content into frames, one hashes blobs' content, several compress, one
//! writes. At most `workers + 2` frames exist at a time, whatever the size of the bundle; buffers go round.
//! The bytes written depend on the frames' content alone: threads decide only when.

use crate::error::{FormatError, Result};
use crate::frame::FrameCompressor;
use crate::index::FrameEntry;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use manifest_schema::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A payload that is written, and its frames.
pub(crate) struct Written<W> {
    pub(crate) output: W,
    /// Every data frame, in order.
    pub(crate) frames: Vec<WrittenFrame>,
    /// Offset in the file behind the last frame.
    pub(crate) end: u64,
    /// For each blob with frames of its own: SHA-256 and size of its compressed bytes.
    pub(crate) blobs: Vec<(Digest, u64)>,
    /// Items taken in order: fewer than were handed out, where a thread died with one.
    items: u64,
}

/// A data frame in the file.
pub(crate) enum WrittenFrame {
    /// Its bytes are written.
    Whole(FrameEntry),
    /// Room for a stored frame, whose content is known last.
    Hole {
        /// Offset in the file.
        offset: u64,
        frame_bytes: u32,
        content_bytes: u32,
    },
}

/// A frame to compress.
struct Work {
    sequence: u64,
    content: Arc<Vec<u8>>,
}

enum Done {
    Frame {
        sequence: u64,
        frame: Vec<u8>,
        entry: FrameEntry,
    },
    /// A stored frame of this many bytes, to be filled in at the end.
    Hole {
        sequence: u64,
        frame_bytes: u32,
        content_bytes: u32,
    },
    BlobStarts {
        sequence: u64,
    },
    BlobEnds {
        sequence: u64,
    },
}

impl Done {
    const fn sequence(&self) -> u64 {
        match self {
            Self::Frame { sequence, .. }
            | Self::Hole { sequence, .. }
            | Self::BlobStarts { sequence }
            | Self::BlobEnds { sequence } => *sequence,
        }
    }
}

enum ToHash {
    Content(Arc<Vec<u8>>),
    BlobEnds,
}

pub(crate) struct Pipeline<W> {
    work: Option<Sender<Work>>,
    done: Option<Sender<Result<Done>>>,
    hash: Option<Sender<ToHash>>,
    hashed: Receiver<Digest>,
    tokens: Receiver<()>,
    buffers: Receiver<Vec<u8>>,
    workers: Vec<JoinHandle<()>>,
    hasher: Option<JoinHandle<()>>,
    writer: Option<JoinHandle<Result<Written<W>>>>,
    sequence: u64,
}

/// How many frames are compressed at once: as many as cores, as long as memory stays in bounds.
fn worker_count(threads: usize, level: i32) -> usize {
    // Measured upper bounds of zstd's own memory for 8 MiB of input, beside 24 MiB of buffers.
    let megabytes = 24
        + if level <= 5 {
            8
        } else if level <= 9 {
            24
        } else if level <= 15 {
            56
        } else {
            104
        };
    threads.clamp(1, (208 / megabytes).max(1))
}

impl<W: Write + Seek + Send + 'static> Pipeline<W> {
    /// Frames will be written to `output` from `start` on.
    pub(crate) fn start(output: W, start: u64, level: i32, threads: usize) -> Result<Self> {
        let count = worker_count(threads, level);
        let in_flight = count + 2;
        let (work, work_taken) = bounded::<Work>(in_flight);
        let (done, done_taken) = unbounded::<Result<Done>>();
        let (hash, hash_taken) = bounded::<ToHash>(2);
        let (hashed_sent, hashed) = unbounded();
        let (token_back, tokens) = bounded(in_flight);
        let (buffer_back, buffers) = bounded(in_flight);
        for _ in 0..in_flight {
            token_back.send(()).map_err(|_| STOPPED)?;
        }
        let mut workers = Vec::new();
        for _ in 0..count {
            let mut compressor = FrameCompressor::new(level)?;
            let (work_taken, done, buffer_back) = (work_taken.clone(), done.clone(), buffer_back.clone());
            workers.push(std::thread::spawn(move || {
                for Work { sequence, content } in work_taken {
                    let result = compress(&mut compressor, sequence, &content);
                    give_back(content, &buffer_back);
                    if done.send(result).is_err() {
                        return;
                    }
                }
            }));
        }
        let hasher = std::thread::spawn(move || {
            let mut state = Sha256::new();
            for item in hash_taken {
                match item {
                    ToHash::Content(content) => {
                        state.update(content.as_slice());
                        give_back(content, &buffer_back);
                    }
                    ToHash::BlobEnds => {
                        let digest = Digest::from_bytes(std::mem::take(&mut state).finalize().into());
                        if hashed_sent.send(digest).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        let writer = std::thread::spawn(move || write_in_order(output, start, &done_taken, &token_back));
        Ok(Self {
            work: Some(work),
            done: Some(done),
            hash: Some(hash),
            hashed,
            tokens,
            buffers,
            workers,
            hasher: Some(hasher),
            writer: Some(writer),
            sequence: 0,
        })
    }

    /// An empty buffer for the next frame's content.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.buffers.try_recv().unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// The next frame; `in_blob` when its content belongs to the blob being hashed.
    pub(crate) fn frame(&mut self, content: Vec<u8>, in_blob: bool) -> Result<()> {
        if self.tokens.recv().is_err() {
            return Err(self.stopped());
        }
        let content = Arc::new(content);
        if in_blob {
            self.hash(ToHash::Content(Arc::clone(&content)))?;
        }
        let sequence = self.next();
        if send(self.work.as_ref(), Work { sequence, content }) { Ok(()) } else { Err(self.stopped()) }
    }

    /// Leaves a hole for a stored frame.
    pub(crate) fn hole(&mut self, frame_bytes: u32, content_bytes: u32) -> Result<()> {
        let sequence = self.next();
        self.write(Done::Hole { sequence, frame_bytes, content_bytes })
    }

    /// The next frames hold one blob, alone.
    pub(crate) fn blob_starts(&mut self) -> Result<()> {
        let sequence = self.next();
        self.write(Done::BlobStarts { sequence })
    }

    /// The blob ended; its content's digest.
    pub(crate) fn blob_ends(&mut self) -> Result<Digest> {
        let sequence = self.next();
        self.write(Done::BlobEnds { sequence })?;
        self.hash(ToHash::BlobEnds)?;
        match self.hashed.recv() {
            Ok(digest) => Ok(digest),
            Err(_) => Err(self.stopped()),
        }
    }

    /// Waits until everything is written.
    pub(crate) fn finish(mut self) -> Result<Written<W>> {
        self.hang_up();
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(Ok(written))) if written.items == self.sequence => Ok(written),
            Some(Ok(Err(error))) => Err(error),
            _ => Err(STOPPED),
        }
    }

    fn write(&mut self, item: Done) -> Result<()> {
        if send(self.done.as_ref(), Ok(item)) { Ok(()) } else { Err(self.stopped()) }
    }

    fn hash(&mut self, item: ToHash) -> Result<()> {
        if send(self.hash.as_ref(), item) { Ok(()) } else { Err(self.stopped()) }
    }

    /// The reason why nobody takes more: the writer's error, where it has one.
    fn stopped(&mut self) -> FormatError {
        self.hang_up();
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error,
            _ => STOPPED,
        }
    }

    fn hang_up(&mut self) {
        self.work = None;
        self.done = None;
        self.hash = None;
        for thread in self.workers.drain(..).chain(self.hasher.take()) {
            let _ = thread.join();
        }
    }

    const fn next(&mut self) -> u64 {
        let sequence = self.sequence;
        self.sequence += 1;
        sequence
    }
}

const STOPPED: FormatError = FormatError::Fault("the packing threads stopped");

/// Sends `item`; false where nobody takes it.
fn send<T>(channel: Option<&Sender<T>>, item: T) -> bool {
    channel.is_some_and(|channel| channel.send(item).is_ok())
}

fn give_back(content: Arc<Vec<u8>>, buffers: &Sender<Vec<u8>>) {
    if let Some(buffer) = Arc::into_inner(content) {
        let _ = buffers.try_send(buffer);
    }
}

fn compress(compressor: &mut FrameCompressor, sequence: u64, content: &[u8]) -> Result<Done> {
    let frame = compressor.compress(content)?;
    let entry = FrameEntry {
        compressed_bytes: frame.len() as u32,
        content_bytes: content.len() as u32,
        digest: Digest::of(&frame),
    };
    Ok(Done::Frame { sequence, frame, entry })
}

/// Writes what is done, in the order of its numbers.
fn write_in_order<W: Write + Seek>(
    mut output: W,
    start: u64,
    done: &Receiver<Result<Done>>,
    tokens: &Sender<()>,
) -> Result<Written<W>> {
    let writing = |offset: u64| FormatError::output(format!("writing the bundle at offset {offset}"));
    output.seek(SeekFrom::Start(start)).map_err(writing(start))?;
    let mut offset = start;
    let (mut frames, mut blobs) = (Vec::new(), Vec::new());
    let mut blob: Option<(Sha256, u64)> = None;
    let mut waiting = BTreeMap::new();
    let mut expected = 0;
    for item in done {
        let item = item?;
        waiting.insert(item.sequence(), item);
        while let Some(item) = waiting.remove(&expected) {
            expected += 1;
            match item {
                Done::Frame { frame, entry, .. } => {
                    output.write_all(&frame).map_err(writing(offset))?;
                    if let Some((state, bytes)) = &mut blob {
                        state.update(&frame);
                        *bytes += frame.len() as u64;
                    }
                    frames.push(WrittenFrame::Whole(entry));
                    offset += frame.len() as u64;
                    let _ = tokens.send(());
                }
                Done::Hole { frame_bytes, content_bytes, .. } => {
                    frames.push(WrittenFrame::Hole { offset, frame_bytes, content_bytes });
                    offset += u64::from(frame_bytes);
                    output.seek(SeekFrom::Start(offset)).map_err(writing(offset))?;
                }
                Done::BlobStarts { .. } => {
                    if blob.replace((Sha256::new(), 0)).is_some() {
                        return Err(FormatError::Fault("a blob began inside another one"));
                    }
                }
                Done::BlobEnds { .. } => {
                    let (state, bytes) =
                        blob.take().ok_or(FormatError::Fault("a blob ended that had not begun"))?;
                    blobs.push((Digest::from_bytes(state.finalize().into()), bytes));
                }
            }
        }
    }
    Ok(Written { output, frames, end: offset, blobs, items: expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// Writes these items.
    fn written(items: Vec<Done>) -> Result<Written<Cursor<Vec<u8>>>> {
        let (done, taken) = unbounded();
        let (token, _tokens) = unbounded();
        items.into_iter().for_each(|item| done.send(Ok(item)).unwrap());
        drop(done);
        write_in_order(Cursor::new(Vec::new()), 0, &taken, &token)
    }

    fn frame(sequence: u64) -> Done {
        let frame = vec![u8::try_from(sequence).unwrap()];
        let entry = FrameEntry { compressed_bytes: 1, content_bytes: 1, digest: Digest::of(&frame) };
        Done::Frame { sequence, frame, entry }
    }

    #[test]
    fn a_frame_that_is_lost_is_counted() {
        let whole = written(vec![frame(1), frame(0), frame(2)]).unwrap();
        assert_eq!((whole.output.into_inner(), whole.items), (vec![0, 1, 2], 3));
        // A thread that died kept the second one.
        assert_eq!(written(vec![frame(0), frame(2)]).unwrap().items, 1);
    }

    #[test]
    fn a_pipeline_that_lost_a_frame_does_not_finish() {
        let mut pipeline = Pipeline::start(Cursor::new(Vec::new()), 0, 1, 1).unwrap();
        pipeline.frame(vec![1], false).unwrap();
        // As if a thread had died with the next one.
        pipeline.sequence += 1;
        assert!(matches!(pipeline.finish(), Err(FormatError::Fault(_))));
    }

    #[test]
    fn blobs_neither_overlap_nor_end_unbegun() {
        for items in [
            vec![Done::BlobEnds { sequence: 0 }],
            vec![Done::BlobStarts { sequence: 0 }, Done::BlobStarts { sequence: 1 }],
        ] {
            assert!(matches!(written(items), Err(FormatError::Fault(_))));
        }
    }
}
