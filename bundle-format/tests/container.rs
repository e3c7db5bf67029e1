//! The container as a whole: what is written is read back, equal inputs give equal bytes, and every
//! kind of damage is refused before anything is parsed. Stock tools read the same files in the
//! end-to-end suite.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use bundle_format::check;
use bundle_format::pack::Metadata;
use bundle_format::read_ahead::ReadAhead;
use bundle_format::signature::NAMESPACE;
use bundle_format::slim;
use bundle_format::tarball::Kind;
use bundle_format::{Bundle, FormatError, PackOptions, Packer, Reserve, Trust, UnverifiedBundle};
use manifest_schema::Digest;
use manifest_schema::limits::{self, FRAME_BYTES};
use manifest_schema::progress::Silent;
use manifest_schema::release::{FileEntry, Layer, Release, Requires, Span};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]))
}

fn sign(key: &PrivateKey, index: &[u8]) -> Vec<u8> {
    key.sign(NAMESPACE, HashAlg::Sha512, index).unwrap().to_pem(LineEnding::LF).unwrap().into_bytes()
}

fn trusting(key: &PrivateKey) -> Trust {
    Trust::Keys(vec![key.public_key().key_data().clone()])
}

/// Content that compresses, and differs from place to place.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..bytes)
        .map(|at| {
            if at % 3 == 0 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            }
            (state >> 56) as u8 & 0x3f
        })
        .collect()
}

/// Metadata that consists of `release` alone.
fn described_as(release: &Release) -> Metadata {
    Metadata { release: serde_json::to_vec(release).unwrap(), companions: Vec::new(), extension: None }
}

fn release(manifest: FileEntry, layers: Vec<Layer>) -> Release {
    Release {
        ferry: 1,
        needs: None,
        name: "site".parse().unwrap(),
        version: "1".into(),
        serial: None,
        requires: Requires { platforms: vec!["linux/amd64".parse().unwrap()], ..Requires::default() },
        compose: manifest.clone(),
        manifest,
        env_file: None,
        compose_files: Vec::new(),
        templates: Vec::new(),
        images: Vec::new(),
        layers,
        artifacts: Vec::new(),
        configs: Vec::new(),
        seeds: Vec::new(),
        built_with: "test".into(),
    }
}

struct Built {
    bytes: Vec<u8>,
    key: PrivateKey,
}

/// A bundle with one small file and a layer for each of `layers`.
fn build(layers: &[Vec<u8>], threads: usize) -> Built {
    let key = key(1);
    let mut reserve = Reserve::default();
    layers.iter().for_each(|layer| reserve.add_own(layer.len() as u64));
    reserve.add_file(5, 10);
    reserve.set_metadata(4096 + layers.len() as u64 * 400);
    let options = PackOptions { level: 3, threads };
    let mut packer = Packer::new(Cursor::new(Vec::new()), options, reserve).unwrap();
    let manifest = packer.small_file(&"ferry.yaml".parse().unwrap(), b"hello").unwrap();
    packer.entry(&"folder".parse().unwrap(), Kind::Folder).unwrap();
    let own: Vec<_> = layers
        .iter()
        .map(|layer| {
            let path = format!("blobs/sha256/{}", Digest::of(layer).hex()).parse().unwrap();
            packer.own(&path, None, false, &mut layer.as_slice()).unwrap()
        })
        .collect();
    let sealed = packer.seal().unwrap();
    let layers = own.iter().map(|blob| Layer {
        digest: blob.digest,
        span: blob.span,
        zstd: sealed.compressed(blob).unwrap(),
    });
    let release = release(manifest, layers.collect());
    let described = sealed.describe(&described_as(&release)).unwrap();
    let signature = sign(&key, described.index());
    let (output, packed) = described.sign(vec![signature]).unwrap();
    let bytes = output.into_inner();
    assert_eq!(bytes.len() as u64, packed.file_bytes);
    Built { bytes, key }
}

fn layers() -> Vec<Vec<u8>> {
    vec![noise(FRAME_BYTES * 2 + 77, 1), noise(10, 2), noise(FRAME_BYTES, 3), Vec::new()]
}

#[test]
fn what_is_packed_is_read_back() {
    let Built { bytes, key } = build(&layers(), 2);
    let bundle = Arc::new(Bundle::open(bytes.clone(), &trusting(&key)).unwrap());
    let release = bundle.release().clone();
    assert_eq!(bundle.small_file(&release.manifest, 100).unwrap(), b"hello");
    for (layer, content) in release.layers.iter().zip(layers()) {
        assert_eq!(layer.digest, Digest::of(&content));
        for threads in [1, 3] {
            let read: Vec<u8> =
                ReadAhead::content(&bundle, layer.span, threads).unwrap().flat_map(Result::unwrap).collect();
            assert!(read == content);
            let frames = bundle.layer_frames(layer).unwrap();
            let blob: Vec<u8> =
                ReadAhead::compressed(&bundle, frames, threads).flat_map(Result::unwrap).collect();
            assert_eq!((Digest::of(&blob), blob.len() as u64), (layer.zstd.digest, layer.zstd.size));
            // An empty layer has no frames.
            assert!(content.is_empty() || zstd::decode_all(blob.as_slice()).unwrap() == content);
        }
    }
    // The whole file is one zstd stream of one tar.
    let tar = zstd::decode_all(bytes.as_slice()).unwrap();
    assert_eq!(tar.len() as u64, bundle.verified().index().content_bytes());
    let mut names = Vec::new();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        names.push(entry.path().unwrap().display().to_string());
        std::io::copy(&mut entry, &mut std::io::sink()).unwrap();
    }
    assert_eq!(names[..3], ["ferry.json", "ferry.yaml", "folder/"]);
    assert_eq!(names.len(), 3 + layers().len());
}

#[test]
fn equal_inputs_give_equal_bytes_whatever_the_threads() {
    let one = build(&layers(), 1).bytes;
    for threads in [2, 5, 16] {
        assert!(build(&layers(), threads).bytes == one, "{threads} threads");
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let Built { bytes, key } = build(&[noise(1000, 1)], 1);
    for end in 0..bytes.len() {
        assert!(Bundle::open(bytes[..end].to_vec(), &trusting(&key)).is_err(), "cut at {end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(Bundle::open(longer, &trusting(&key)), Err(FormatError::Length { .. })));
}

#[test]
fn every_flipped_byte_is_noticed() {
    let Built { bytes, key } = build(&[noise(3000, 1), noise(200, 2)], 1);
    let idle = || false;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        match Bundle::open(damaged, &trusting(&key)) {
            Err(_) => {}
            Ok(bundle) => {
                let broken = check::check(&bundle, 2, &Silent, &idle).unwrap();
                assert!(!broken.is_empty(), "byte {at} of {} was flipped unnoticed", bytes.len());
            }
        }
    }
}

#[test]
fn a_broken_frame_is_named_with_its_offset_and_content() {
    let Built { mut bytes, key } = build(&layers(), 2);
    let (frame, offset) = {
        let bundle = Bundle::open(bytes.clone(), &trusting(&key)).unwrap();
        let layer = bundle.release().layers[2].clone();
        let frame = bundle.layer_frames(&layer).unwrap().start;
        (frame, bundle.verified().index().file_offset(frame).unwrap())
    };
    bytes[offset as usize + 100] ^= 1;
    let bundle = Bundle::open(bytes, &trusting(&key)).unwrap();
    let broken = check::check(&bundle, 2, &Silent, &|| false).unwrap();
    assert_eq!(broken.len(), 1);
    assert_eq!((broken[0].frame, broken[0].offset), (Some(frame), offset));
    assert!(broken[0].holds[0].starts_with("layer "), "{:?}", broken[0]);
    let mut buffer = Vec::new();
    assert!(matches!(bundle.read_frame(frame, &mut buffer), Err(FormatError::Damaged { .. })));
}

#[test]
fn signatures_by_others_or_for_other_purposes_do_not_count() {
    let Built { bytes, key: signer } = build(&[noise(100, 1)], 1);
    assert!(matches!(Bundle::open(bytes.clone(), &trusting(&key(2))), Err(FormatError::Untrusted(_))));
    assert!(Bundle::open(bytes.clone(), &Trust::AnyValid).is_ok());
    let fingerprint = signer.public_key().fingerprint(HashAlg::Sha256);
    assert!(Bundle::open(bytes.clone(), &Trust::Fingerprints(vec![fingerprint])).is_ok());

    let head = bundle_format::head::Head::read(&mut bytes.as_slice()).unwrap();
    let resigned = |signatures: Vec<Vec<u8>>| {
        let mut changed = bundle_format::head::Head { signatures, ..head.clone() }.encode().unwrap();
        changed.extend_from_slice(&bytes[changed.len()..]);
        Bundle::open(changed, &trusting(&signer))
    };
    let by_other = sign(&key(2), &head.index);
    let for_git = signer.sign("git", HashAlg::Sha512, &head.index).unwrap().to_pem(LineEnding::LF).unwrap();
    let over_other = sign(&signer, b"another index");
    for wrong in [by_other.clone(), for_git.into_bytes(), over_other, b"nonsense".to_vec()] {
        let refused = resigned(vec![wrong]);
        assert!(matches!(refused, Err(FormatError::Unsigned(_) | FormatError::Untrusted(_))));
    }
    assert!(matches!(resigned(Vec::new()), Err(FormatError::Unsigned(_))));
    // A further signature does not move the payload, and one trusted signature is enough.
    resigned(vec![by_other, sign(&signer, &head.index)]).unwrap();
}

#[test]
fn a_swapped_payload_is_refused_by_its_own_valid_head() {
    let (a, b) = (build(&[noise(2000, 1)], 1), build(&[noise(2000, 9)], 1));
    let head = bundle_format::head::Head::read(&mut a.bytes.as_slice()).unwrap().encode().unwrap();
    let mut swapped = head.clone();
    swapped.extend_from_slice(&b.bytes[head.len()..]);
    assert!(Bundle::open(swapped, &trusting(&a.key)).is_err());
}

#[test]
fn a_pipe_is_enough_to_see_what_a_bundle_holds() {
    let Built { bytes, .. } = build(&layers(), 2);
    let mut pipe = bytes.as_slice();
    let verified = UnverifiedBundle::read(&mut pipe).unwrap().verify(&Trust::AnyValid, &mut pipe).unwrap();
    assert_eq!(verified.release().layers.len(), 4);
    assert!(pipe.len() > bytes.len() / 2, "only the head and the metadata are read");
}

#[test]
fn too_little_room_is_told_and_not_written() {
    let mut packer =
        Packer::new(Cursor::new(Vec::new()), PackOptions { level: 1, threads: 1 }, Reserve::default())
            .unwrap();
    let content = noise(FRAME_BYTES * 8, 1);
    let manifest = packer.small_file(&"ferry.yaml".parse().unwrap(), b"hello").unwrap();
    packer.own(&"x".parse().unwrap(), None, false, &mut content.as_slice()).unwrap();
    let described = packer.seal().unwrap().describe(&described_as(&release(manifest, Vec::new())));
    assert!(matches!(described.map(|_| ()), Err(FormatError::ReserveTooSmall { missing }) if missing > 0));
}

#[test]
fn what_failed_while_it_was_packed_is_never_sealed() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("a bad sector"))
        }
    }
    let options = PackOptions { level: 1, threads: 1 };
    let mut packer = Packer::new(Cursor::new(Vec::new()), options, Reserve::default()).unwrap();
    let failed = packer.own(&"x".parse().unwrap(), None, false, &mut Broken);
    assert!(matches!(failed, Err(FormatError::Io { .. })), "{failed:?}");
    // Its caller goes on all the same, and gives every later blob its header.
    let _ = packer.own(&"y".parse().unwrap(), None, false, &mut &b"content"[..]);
    let sealed = packer.seal().map(|_| ());
    assert!(matches!(sealed, Err(FormatError::Fault(_))), "{sealed:?}");
}

#[test]
fn an_output_that_fails_is_the_error_of_whatever_is_packed() {
    /// Takes this many bytes.
    struct Full(u64);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len() as u64).ok_or_else(|| std::io::Error::other("full"))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Seek for Full {
        fn seek(&mut self, _: SeekFrom) -> std::io::Result<u64> {
            Ok(0)
        }
    }
    let content = noise(FRAME_BYTES, 1);
    let mut packer =
        Packer::new(Full(1 << 20), PackOptions { level: 1, threads: 1 }, Reserve::default()).unwrap();
    let error = (0..100)
        .find_map(|_| packer.own(&"x".parse().unwrap(), None, false, &mut content.as_slice()).err())
        .unwrap();
    assert!(matches!(error, FormatError::Output { .. }), "{error:?}");
    assert!(packer.seal().is_err());
}

#[test]
fn what_no_reader_would_accept_is_not_written() {
    let options = PackOptions { level: 1, threads: 1 };
    let finish = |json_bytes: u64, signatures: Vec<Vec<u8>>| {
        let mut reserve = Reserve::default();
        reserve.set_metadata(1 << 20);
        let packer = Packer::new(Cursor::new(Vec::new()), options, reserve).unwrap();
        let release = vec![b' '; usize::try_from(json_bytes).unwrap()];
        let metadata = Metadata { release, companions: Vec::new(), extension: None };
        packer.seal()?.describe(&metadata)?.sign(signatures).map(|_| ())
    };
    let (json, count, bytes) =
        (limits::MAX_RELEASE_JSON_BYTES, limits::MAX_SIGNATURES, limits::MAX_SIGNATURE_BYTES as usize);
    finish(json, vec![vec![1; 9]; count]).unwrap();
    finish(9, vec![vec![1; bytes]]).unwrap();
    for refused in [
        finish(json + 1, vec![]),
        finish(9, vec![vec![1; 9]; count + 1]),
        finish(9, vec![vec![1; bytes + 1]]),
    ] {
        assert!(matches!(refused, Err(FormatError::Limit(_))), "{refused:?}");
    }
    // Known before a byte is packed.
    let mut reserve = Reserve::default();
    reserve.add_own(100 << 40);
    let refused = Packer::new(Cursor::new(Vec::new()), options, reserve);
    assert!(matches!(refused.map(|_| ()), Err(FormatError::Limit(_))));
}

#[test]
fn an_input_that_is_not_as_long_as_announced_is_refused() {
    for (announced, found) in [(10, 9), (10, 11), (2 << 20, 1 << 20), (1 << 20, 2 << 20)] {
        let mut packer =
            Packer::new(Cursor::new(Vec::new()), PackOptions { level: 1, threads: 1 }, Reserve::default())
                .unwrap();
        let content = vec![1; found];
        let result = packer.file(&"x".parse().unwrap(), announced, false, &mut content.as_slice());
        assert!(matches!(result, Err(FormatError::Input(_))), "{announced} {found}");
    }
}

/// Zeros that cost nothing to make.
struct Zeros(u64);

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.min(buffer.len() as u64) as usize;
        buffer[..count].fill(0);
        self.0 -= count as u64;
        Ok(count)
    }
}

fn large(bytes: u64) {
    let signer = key(1);
    let mut reserve = Reserve::default();
    reserve.add_own(bytes);
    reserve.add_own(1000);
    reserve.set_metadata(8192);
    let file = tempfile::tempfile().unwrap();
    let mut packer = Packer::new(file, PackOptions { level: 1, threads: 2 }, reserve).unwrap();
    let manifest = packer.small_file(&"ferry.yaml".parse().unwrap(), b"hello").unwrap();
    let big = packer.own(&"big".parse().unwrap(), Some(bytes), false, &mut Zeros(bytes)).unwrap();
    let after = noise(1000, 4);
    let small = packer.own(&"after".parse().unwrap(), None, false, &mut after.as_slice()).unwrap();
    assert_eq!(big.span.size, bytes);
    assert!(small.span.offset > bytes);
    let sealed = packer.seal().unwrap();
    let layers = [big, small].into_iter().map(|blob| Layer {
        digest: blob.digest,
        span: blob.span,
        zstd: sealed.compressed(&blob).unwrap(),
    });
    let release = release(manifest, layers.collect());
    let described = sealed.describe(&described_as(&release)).unwrap();
    let signature = sign(&signer, described.index());
    let (file, packed) = described.sign(vec![signature]).unwrap();
    assert!(packed.content_bytes > bytes);
    let bundle = Arc::new(Bundle::open(file, &trusting(&signer)).unwrap());
    assert!(check::check(&bundle, 2, &Silent, &|| false).unwrap().is_empty());
    let release = bundle.release();
    // The end of the large blob, and what stands behind it.
    let tail = Span { offset: big.span.offset + bytes - 10, size: 10 };
    let read: Vec<u8> = ReadAhead::content(&bundle, tail, 2).unwrap().flat_map(Result::unwrap).collect();
    assert_eq!(read, [0; 10]);
    let read: Vec<u8> =
        ReadAhead::content(&bundle, release.layers[1].span, 2).unwrap().flat_map(Result::unwrap).collect();
    assert!(read == after);
}

#[test]
fn a_blob_past_4_gib_is_written_and_read() {
    large((4 << 30) + 12_345);
}

#[test]
fn a_blob_past_9_gib_is_written_and_read() {
    large((9 << 30) + 12_345);
}

#[test]
fn keys_of_other_kinds_sign_too() {
    let mut random = rand_core::OsRng;
    let key =
        PrivateKey::random(&mut random, Algorithm::Ecdsa { curve: ssh_key::EcdsaCurve::NistP256 }).unwrap();
    let Built { bytes, .. } = build(&[noise(100, 1)], 1);
    let head = bundle_format::head::Head::read(&mut bytes.as_slice()).unwrap();
    let signatures = vec![sign(&key, &head.index)];
    let mut changed = bundle_format::head::Head { signatures, ..head }.encode().unwrap();
    changed.extend_from_slice(&bytes[changed.len()..]);
    Bundle::open(changed, &trusting(&key)).unwrap();

    // A FIDO token signs hashes, its flags and its counter (openssh/PROTOCOL.u2f, "SSH U2F Signatures").
    let inner = ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
    let token = ssh_key::public::SkEd25519::new(inner.public, "ssh:".to_owned());
    let signed = |index: &[u8]| {
        let data = ssh_key::SshSig::signed_data("ferry", HashAlg::Sha512, index).unwrap();
        let trailer = [1, 0, 0, 0, 5];
        let (application, message) = (Digest::of(b"ssh:"), Digest::of(&data));
        let parts = [&application.as_bytes()[..], &trailer, message.as_bytes()].concat();
        let mut bytes = raw(&PrivateKey::from(inner.clone()), &parts).as_bytes().to_vec();
        bytes.extend(trailer);
        let signature = ssh_key::Signature::new(Algorithm::SkEd25519, bytes).unwrap();
        let key = ssh_key::public::KeyData::SkEd25519(token.clone());
        let signature = ssh_key::SshSig::new(key, "ferry", HashAlg::Sha512, signature).unwrap();
        signature.to_pem(LineEnding::LF).unwrap().into_bytes()
    };
    let valid = |signature: Vec<u8>| bundle_format::signature::valid_signers(b"index", &[signature]).len();
    assert_eq!((valid(signed(b"index")), valid(signed(b"another"))), (1, 0));
}

fn raw(key: &impl ssh_key::SigningKey, data: &[u8]) -> ssh_key::Signature {
    key.try_sign(data).unwrap()
}

#[test]
fn a_bundle_without_its_layers_has_everything_else() {
    let Built { bytes, key } = build(&layers(), 2);
    let whole = Bundle::open(bytes.clone(), &trusting(&key)).unwrap();
    let mut out = Cursor::new(Vec::new());
    slim::write(&whole, &mut out).unwrap();
    let slim_bytes = out.into_inner();
    assert_eq!(slim_bytes.len(), bytes.len());
    let zeros = slim_bytes.iter().filter(|byte| **byte == 0).count() as u64;
    assert!(slim::bytes(&whole).unwrap() + zeros >= bytes.len() as u64, "what was left out are holes");

    assert!(slim::is_whole(&whole, &slim_bytes));
    for at in [20, slim_bytes.len() - 3, whole.verified().index().file_offset(0).unwrap() as usize + 30] {
        let mut damaged = slim_bytes.clone();
        damaged[at] ^= 1;
        assert!(!slim::is_whole(&whole, &damaged), "{at}");
    }
    let kept = Bundle::open(slim_bytes.clone(), &trusting(&key)).unwrap();
    assert_eq!(kept.verified().id(), whole.verified().id());
    assert_eq!(kept.small_file(&kept.release().manifest, 100).unwrap(), b"hello");
    let mut buffer = Vec::new();
    let layer = kept.layer_frames(&kept.release().layers[0]).unwrap().start;
    assert!(matches!(kept.read_frame(layer, &mut buffer), Err(FormatError::Damaged { .. })), "never zeros");
    let small = (0..layer).find(|frame| whole.read_frame(*frame, &mut buffer).is_ok()).unwrap();
    kept.read_frame(small, &mut buffer).unwrap();
    // It is checked as the bundle is.
    assert!(matches!(Bundle::open(slim_bytes, &trusting(&self::key(9))), Err(FormatError::Untrusted(_))));
    // A frame that is not the one that was signed is not kept.
    let mut damaged = bytes;
    let offset = whole.verified().index().file_offset(small).unwrap() as usize;
    damaged[offset + 20] ^= 1;
    if let Ok(damaged) = Bundle::open(damaged, &trusting(&key)) {
        assert!(slim::write(&damaged, &mut Cursor::new(Vec::new())).is_err());
    }
}
