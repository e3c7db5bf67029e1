//! Bundles that were cut short, changed, exchanged or never bundles: the documented exit code, one
//! message that names the file and the place, and nothing changed on the host.
//!
//! The places are computed from FORMAT.md and the standard seek table, not by Ferry's own reader.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use fixtures::small_site::SmallSite;
use fixtures::{damage, keys};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs::{self, stock};
use tests::snapshot::{Snapshot, assert_unchanged};

const DAMAGED: i32 = 4;
const UNTRUSTED: i32 = 5;
const FILES: i32 = 9;

/// Places in a good bundle.
struct Places {
    head: u64,
    /// Offset and size of each frame of PAYLOAD.
    frames: Vec<(u64, u64)>,
    seek: u64,
    end: u64,
}

impl Places {
    fn of(file: &[u8]) -> Self {
        let word = |at: usize| u64::from(u32::from_le_bytes(file[at..at + 4].try_into().unwrap()));
        let head = word(13);
        let count = usize::try_from(word(file.len() - 9)).unwrap();
        let table = file.len() - 9 - 8 * count;
        let mut frames = Vec::new();
        let mut at = 17 + head;
        for entry in 2..count {
            let size = word(table + 8 * entry);
            frames.push((at, size));
            at += size;
        }
        assert_eq!(at, table as u64 - 8, "frames end where the seek table's own frame begins");
        Self { head, frames, seek: at, end: file.len() as u64 }
    }
}

struct Bench {
    folder: TempDir,
    built: Built,
    places: Places,
    host: Host,
    before: Snapshot,
}

impl Bench {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built = bundle::small(folder.path(), &SmallSite { ballast: 9 << 20, ..SmallSite::default() });
        let places = Places::of(&fs::read(&built.file).unwrap());
        let host = Host::docker(name);
        let before = host.snapshot();
        Self { folder, built, places, host, before }
    }

    /// A copy of the good bundle, to be damaged.
    fn copy(&self) -> PathBuf {
        let path = self.folder.path().join("stick.fz");
        fs::copy(&self.built.file, &path).unwrap();
        path
    }

    /// Gives `file` to `ferry verify`, `install verify` and `install`. Each must end with `code`, one
    /// error, the file's name and all of `words`; and the host must be as it was.
    #[track_caller]
    fn refused(&self, what: &str, file: &Path, code: i32, words: &[&str]) {
        let path = file.to_str().unwrap();
        let [trust, fingerprint] = self.built.trust();
        let outcomes = [
            Outcome::of(programs::command(programs::ferry()).args(["verify", trust, fingerprint, path])),
            self.host.run(&["verify", trust, fingerprint, path]),
            self.host.run(&[trust, fingerprint, path]),
        ];
        for outcome in outcomes {
            assert_eq!(outcome.code, code, "{what}\n{outcome}");
            assert_eq!(outcome.stdout, "", "{what}\n{outcome}");
            let errors = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count();
            assert_eq!(errors, 1, "{what}: one error\n{outcome}");
            for word in words.iter().chain([&path]) {
                assert!(outcome.stderr.contains(word), "{what}: `{word}` in\n{outcome}");
            }
            assert!(!outcome.stderr.contains("panicked"), "{what}\n{outcome}");
        }
        assert!(!self.host.root.exists(), "{what}: Ferry's folder was made");
    }

    /// The engine is asked once, after many refusals.
    #[track_caller]
    fn nothing_changed(&self) {
        assert_unchanged(&self.before, &self.host.snapshot(), "a bundle that was refused");
    }
}

#[test]
fn a_bundle_cut_short_anywhere_is_refused() {
    let bench = Bench::new("cut");
    let Places { head, frames, seek, end } = &bench.places;
    let mut cuts = vec![1, 5, 8, 9, 10, 16, 17, 18, 29, 17 + head / 2, 17 + head - 1, 17 + head];
    for (offset, size) in frames {
        cuts.extend([offset + 1, offset + size / 2, offset + size]);
    }
    cuts.extend([*seek, seek + 4, seek + 8, end - 9, end - 1]);
    cuts.sort_unstable();
    cuts.dedup();
    assert!(cuts.len() > 25, "{cuts:?}");
    let file = bench.copy();
    // From the longest to the shortest, so that one copy is enough.
    for cut in cuts.into_iter().rev() {
        damage::truncate(&file, cut).unwrap();
        bench.refused(&format!("cut to {cut} of {end} bytes"), &file, DAMAGED, &["hint: "]);
    }
    fs::write(&file, b"").unwrap();
    bench.refused("an empty file", &file, DAMAGED, &[]);
    bench.nothing_changed();
}

#[test]
fn a_bundle_that_goes_on_after_its_end_is_refused() {
    let bench = Bench::new("longer");
    let file = bench.copy();
    damage::overwrite(&file, bench.places.end, b"x").unwrap();
    bench.refused("one byte more", &file, DAMAGED, &[&format!("{} bytes long", bench.places.end + 1)]);
    bench.nothing_changed();
}

#[test]
fn a_flipped_byte_in_the_payload_is_named_with_frame_and_offset() {
    let bench = Bench::new("flipped");
    let metadata = 0;
    for (number, (offset, size)) in bench.places.frames.iter().enumerate() {
        for at in [*offset, offset + size / 2, offset + size - 1] {
            let file = bench.copy();
            damage::flip(&file, at).unwrap();
            let what = format!("byte {at}, in frame {number}");
            if number == metadata {
                bench.refused(&what, &file, DAMAGED, &["offset"]);
            } else {
                bench.refused(
                    &what,
                    &file,
                    DAMAGED,
                    &[&format!("frame {number}, offset"), "copy the bundle again"],
                );
            }
        }
    }
    // The exact offset, and what lies there.
    let layer = bench.places.frames.iter().enumerate().max_by_key(|(_, frame)| frame.1).unwrap();
    let (number, (offset, size)) = layer;
    let file = bench.copy();
    damage::zero(&file, offset + 10..offset + size - 10).unwrap();
    let verify = programs::command(programs::ferry()).arg("verify").arg(&file).output().unwrap();
    let text = String::from_utf8(verify.stderr).unwrap();
    assert!(text.contains(&format!("frame {number}, offset {offset} (")), "{text}");
    assert!(text.contains("small/front:1.0.0"), "the image whose layer is broken is named: {text}");
    bench.nothing_changed();
}

#[test]
fn all_broken_places_are_named_at_once() {
    let bench = Bench::new("places");
    let file = bench.copy();
    let data: Vec<(usize, &(u64, u64))> = bench.places.frames.iter().enumerate().skip(1).step_by(2).collect();
    for (_, (offset, _)) in &data {
        damage::flip(&file, offset + 4).unwrap();
    }
    assert!(data.len() >= 3);
    let named: Vec<String> = data.iter().map(|(number, _)| format!("frame {number}, offset")).collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    bench.refused("several frames", &file, DAMAGED, &named[..3]);
    bench.nothing_changed();
}

#[test]
fn a_flipped_byte_outside_the_payload_is_refused() {
    let bench = Bench::new("ends");
    let head = 17 + bench.places.head;
    let file = fs::read(&bench.built.file).unwrap();
    let index = u64::from(u32::from_le_bytes(file[25..29].try_into().unwrap()));
    for (at, code) in [
        (0, DAMAGED),
        (4, DAMAGED),
        (8, DAMAGED),
        (9, DAMAGED),
        (13, DAMAGED),
        (17, DAMAGED),
        (25, DAMAGED),
        // The index, from its magic number to its last hash.
        (29, UNTRUSTED),
        (29 + index / 2, UNTRUSTED),
        (29 + index - 1, UNTRUSTED),
        // The signature's middle: its key or its number.
        (29 + index + 8 + 60, UNTRUSTED),
        (29 + index + 8 + 200, UNTRUSTED),
        // The zeros behind it.
        (head - 1, DAMAGED),
        (bench.places.seek, DAMAGED),
        (bench.places.seek + 20, DAMAGED),
        (bench.places.end - 1, DAMAGED),
    ] {
        let file = bench.copy();
        damage::flip(&file, at).unwrap();
        bench.refused(&format!("byte {at}"), &file, code, &[]);
    }
    bench.nothing_changed();
}

#[test]
fn heads_of_other_bundles_and_missing_signatures_are_refused() {
    let bench = Bench::new("heads");
    let good = fs::read(&bench.built.file).unwrap();
    let file = bench.folder.path().join("stick.fz");
    let payload = usize::try_from(17 + bench.places.head).unwrap();

    // The head of another bundle, rightly signed by the same key.
    let site = SmallSite { version: "2.0.0".to_owned(), message: "other".to_owned(), ..SmallSite::default() };
    let other = bundle::small(bench.folder.path(), &SmallSite { ballast: 9 << 20, ..site });
    let other_bytes = fs::read(&other.file).unwrap();
    let other_payload = usize::try_from(17 + Places::of(&other_bytes).head).unwrap();
    fs::write(&file, [&other_bytes[..other_payload], &good[payload..]].concat()).unwrap();
    bench.refused("another bundle's head", &file, DAMAGED, &[]);

    // No signature at all: S is 0, and zeros behind it.
    let index = usize::try_from(u32::from_le_bytes(good[25..29].try_into().unwrap())).unwrap();
    let mut unsigned = good.clone();
    unsigned[29 + index..payload].fill(0);
    fs::write(&file, &unsigned).unwrap();
    bench.refused("unsigned", &file, UNTRUSTED, &["signature"]);

    // Signed by someone else: from the same folder, and with the signature put in place of ours.
    let key = keys::write(bench.folder.path(), "stranger", 7).unwrap();
    let foreign = bench.folder.path().join("foreign.fz");
    let built = bundle::signed(bench.folder.path(), &bench.built.site, &foreign, 7);
    bench.refused("another key", &built.file, UNTRUSTED, &[&key.fingerprint]);
    let mut exchanged = good.clone();
    let foreign = fs::read(&foreign).unwrap();
    exchanged[29 + index..payload].copy_from_slice(&foreign[29 + index..payload]);
    fs::write(&file, &exchanged).unwrap();
    bench.refused("another key's signature", &file, UNTRUSTED, &[&key.fingerprint]);
    bench.nothing_changed();
}

#[test]
fn files_that_are_no_bundles_are_refused() {
    let bench = Bench::new("foreign");
    let at = |name: &str| bench.folder.path().join(name);
    fs::write(at("text"), "not a bundle\n".repeat(1000)).unwrap();
    fs::write(at("zeros"), vec![0_u8; 1 << 20]).unwrap();
    for (name, flag) in [("plain.tar", ""), ("packed.tar.zst", "--zstd"), ("packed.tar.gz", "--gzip")] {
        let mut tar = programs::command(stock("tar"));
        tar.args(Some(flag).filter(|flag| !flag.is_empty())).arg("-cf").arg(at(name));
        let _ = Outcome::of(tar.arg("-C").arg(&bench.built.site).arg(".")).succeeds();
    }
    // A zstd file that begins as a bundle does.
    let mut zstd = b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00".to_vec();
    zstd.extend(fs::read(at("packed.tar.zst")).unwrap());
    fs::write(at("begins.zst"), zstd).unwrap();
    for name in ["text", "zeros", "plain.tar", "packed.tar.zst", "packed.tar.gz", "begins.zst"] {
        bench.refused(name, &at(name), DAMAGED, &[]);
    }
    bench.refused("/dev/null", Path::new("/dev/null"), DAMAGED, &[]);
    bench.refused("a folder", bench.folder.path(), FILES, &[]);
    bench.refused("nothing", &at("missing.fz"), FILES, &[]);
    bench.nothing_changed();
}

#[test]
fn a_damaged_update_leaves_what_runs_alone() {
    let bench = Bench::new("update");
    let _ = bench.host.install(&bench.built);
    let site = SmallSite { version: "2.0.0".to_owned(), message: "two".to_owned(), ..SmallSite::default() };
    let next = bundle::small(bench.folder.path(), &site);
    let places = Places::of(&fs::read(&next.file).unwrap());
    let before = bench.host.snapshot();
    for (offset, size) in &places.frames {
        let file = bench.folder.path().join("stick.fz");
        fs::copy(&next.file, &file).unwrap();
        damage::flip(&file, offset + size / 2).unwrap();
        let refused = bench.host.run(&[file.to_str().unwrap()]).exits(DAMAGED);
        assert!(refused.stderr.contains("damaged"), "{refused}");
        assert_unchanged(&before, &bench.host.snapshot(), "a damaged update");
    }
    let _ = bench.host.run(&[next.path()]).succeeds();
}
