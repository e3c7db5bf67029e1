//! Files with holes where their content is zero: a virtual disk takes no more room here than where it came from.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// The unit in which common file systems leave room out.
const BLOCK_BYTES: usize = 4 << 10;

/// Bytes read at a time, a multiple of the block.
const BUFFER_BYTES: usize = 128 << 10;

/// Copies `from` into the new file `to`, and leaves out whole blocks of zeros. Returns the bytes of the file.
///
/// # Errors
/// When reading or writing fails.
pub(super) fn copy(from: &mut impl Read, to: &mut File) -> io::Result<u64> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    let mut bytes = 0;
    loop {
        buffer.clear();
        // Read full, so that blocks stay aligned.
        from.take(BUFFER_BYTES as u64).read_to_end(&mut buffer)?;
        if buffer.is_empty() {
            to.set_len(bytes)?;
            return Ok(bytes);
        }
        bytes += buffer.len() as u64;
        let mut blocks = buffer.as_slice();
        while let Some(first) = blocks.chunks(BLOCK_BYTES).next() {
            let zero = is_zero(first);
            let alike = blocks.chunks(BLOCK_BYTES).take_while(|block| is_zero(block) == zero);
            let (run, rest) = blocks.split_at(alike.map(<[u8]>::len).sum());
            if zero {
                to.seek(SeekFrom::Current(i64::try_from(run.len()).map_err(io::Error::other)?))?;
            } else {
                to.write_all(run)?;
            }
            blocks = rest;
        }
    }
}

fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    ZEROS.get(..block.len()).is_some_and(|zeros| zeros == block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn copied(content: &[u8]) -> (Vec<u8>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut file = File::options().create_new(true).write(true).open(&path).unwrap();
        assert_eq!(copy(&mut &content[..], &mut file).unwrap(), content.len() as u64);
        file.sync_all().unwrap();
        (std::fs::read(&path).unwrap(), path.metadata().unwrap().blocks() * 512)
    }

    #[test]
    fn content_is_the_same_and_zeros_take_no_room() {
        let mut disk = vec![0; 8 << 20];
        disk[3 << 20..(3 << 20) + 5000].fill(7);
        let tail = [&disk[..], b"end"].concat();
        let dense: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        for content in [&disk[..], &tail, &dense, &[0; 4097], &[0; 3], b""] {
            assert!(copied(content).0 == content, "{} bytes", content.len());
        }
        assert!(copied(&disk).1 <= 64 << 10, "{} bytes on the disk", copied(&disk).1);
    }
}
