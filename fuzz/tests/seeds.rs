//! The seeds that are no text are made here, by writers of their formats, and are what is committed: a format that
//! changes without its seeds fails. `FERRY_WRITE_SEEDS=1` writes them anew.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use bundle_format::head::Head;
use bundle_format::index::{Extension, FrameEntry, Index};
use fixtures::keys::key;
use manifest_schema::Digest;
use serde_json::{Value, json};
use ssh_key::{HashAlg, LineEnding};
use std::fs;
use std::path::Path;
use tar::{Builder, EntryType, Header};

type Seeds = Vec<(&'static str, Vec<u8>)>;

#[test]
fn the_committed_seeds_are_those_that_are_made() {
    let made: [(&str, Seeds); 8] = [
        ("head", heads()),
        ("index", indexes()),
        ("seek_table", sizes()),
        ("signature", signatures()),
        ("agent", answers()),
        ("archive", archives()),
        ("ferry_json", releases().into_iter().map(|(name, release)| (name, bytes(&release))).collect()),
        ("bundle", bundles()),
    ];
    for (target, seeds) in made {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        for (name, seed) in seeds {
            let path = folder.join(name);
            if std::env::var_os("FERRY_WRITE_SEEDS").is_some() {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, &seed).unwrap();
            }
            assert!(fs::read(&path).is_ok_and(|committed| committed == seed), "{} differs", path.display());
        }
    }
}

fn sign(index: &[u8], namespace: &str, seed: u8) -> Vec<u8> {
    let signature = key(seed, "seed").unwrap().sign(namespace, HashAlg::Sha512, index).unwrap();
    signature.to_pem(LineEnding::LF).unwrap().into_bytes()
}

fn index(frames: &[(u32, u32)]) -> Index {
    let frame = |(compressed_bytes, content_bytes): &(u32, u32)| FrameEntry {
        compressed_bytes: *compressed_bytes,
        content_bytes: *content_bytes,
        digest: Digest::of(b"frame"),
    };
    Index::new(2000, 1, Digest::of(b"json"), 44, frames.iter().map(frame).collect()).unwrap()
}

fn heads() -> Seeds {
    let head = |content_bytes, index: Vec<u8>, signatures| {
        Head { content_bytes, index, signatures }.encode().unwrap()
    };
    let signed = index(&[(100, 600), (50, 4096)]).encode();
    let signatures = vec![sign(&signed, "ferry", 1), sign(&signed, "ferry", 2)];
    vec![
        ("empty", head(16, vec![], vec![])),
        ("one", head(40, vec![5; 9], vec![vec![1; 3]])),
        ("room", head(120, vec![5; 30], vec![vec![1; 20], vec![2; 10]])),
        ("many", head(220, vec![], vec![vec![7]; 32])),
        ("signed", head(2000, signed, signatures)),
    ]
}

fn indexes() -> Seeds {
    let many: Vec<(u32, u32)> = (1..20).map(|n| (n * 37, 8 << 20)).collect();
    let version_2 = |frames| index(frames).with_extension(Extension::default()).encode();
    // An extension that needs more, and has it.
    let json = br#"{"needs":[{"feature":"encrypted","fz":"0.6.0"}],"encryption":{"head_frames":1}}"#;
    let mut lacks = version_2(&[(9, 10)]);
    lacks.splice(72..84, json.iter().copied());
    lacks[28] = u8::try_from(json.len()).unwrap();
    vec![
        ("version-2", version_2(&[(100, 600), (50, 4096)])),
        ("lacks", lacks),
        ("one", index(&[(1, 1)]).encode()),
        ("three", index(&[(100, 600), (50, 4096), (7, 1)]).encode()),
        ("largest", index(&[((16 << 20) + (1 << 16) + 64, 16 << 20)]).encode()),
        ("many", index(&many).encode()),
    ]
}

fn sizes() -> Seeds {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    vec![
        ("one", words(&[2000, 1, 1])),
        ("three", words(&[2000, 100, 600, 50, 4096, 7, 1])),
        ("largest", words(&[u32::MAX, 1 << 24, 1 << 24, 1, 1 << 24])),
        ("beyond", words(&[u32::MAX - 8, 9, (1 << 24) + 1, 9, 9])),
    ]
}

fn signatures() -> Seeds {
    let good = sign(b"index", "ferry", 1);
    let text = String::from_utf8(good.clone()).unwrap();
    vec![
        ("good", good),
        ("other-purpose", sign(b"index", "git", 1)),
        ("windows-lines", text.replace('\n', "\r\n").into_bytes()),
        ("cut", text.as_bytes()[..120].to_vec()),
    ]
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// Answers of an ssh-agent: keys, then a signature.
fn answers() -> Seeds {
    let identities = |keys: &[Vec<u8>]| {
        let mut answer = vec![12];
        answer.extend(u32::try_from(keys.len()).unwrap().to_be_bytes());
        for key in keys {
            answer.extend(string(key));
            answer.extend(string(b"a comment"));
        }
        string(&answer)
    };
    let one = key(1, "seed").unwrap().public_key().to_bytes().unwrap();
    let two = key(2, "seed").unwrap().public_key().to_bytes().unwrap();
    let signature = string(&[string(b"ssh-ed25519"), string(&[9; 64])].concat());
    let signed = string(&[&[14], signature.as_slice()].concat());
    vec![
        ("none", identities(&[])),
        ("refusal", vec![0, 0, 0, 1, 5]),
        ("unknown-kind", identities(&[b"x".to_vec(), one.clone()])),
        ("signed", [identities(std::slice::from_ref(&one)), signed.clone()].concat()),
        ("two", [identities(&[one, two]), signed.clone(), signed].concat()),
    ]
}

fn archives() -> Seeds {
    let header = |kind, size| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header
    };
    let build = |fill: &dyn Fn(&mut Builder<Vec<u8>>)| {
        let mut tar = Builder::new(Vec::new());
        fill(&mut tar);
        tar.into_inner().unwrap()
    };
    let file = |tar: &mut Builder<Vec<u8>>, name: &str, content: &[u8]| {
        tar.append_data(&mut header(EntryType::Regular, content.len() as u64), name, content).unwrap();
    };
    let plain = build(&|tar| {
        file(tar, "manifest.json", b"[{\"Config\":\"c.json\",\"Layers\":[\"l/layer.tar\"]}]");
        tar.append_data(&mut header(EntryType::Directory, 0), "l/", &[][..]).unwrap();
        file(tar, "l/layer.tar", &[0; 700]);
    });
    let links = build(&|tar| {
        tar.append_link(&mut header(EntryType::Symlink, 0), "a/b", "../c").unwrap();
        tar.append_link(&mut header(EntryType::Link, 0), "d", "c").unwrap();
        file(tar, "c", b"{}");
    });
    let long = build(&|tar| file(tar, &format!("{}/x", "folder/".repeat(20)), b"long"));
    let pax = build(&|tar| {
        let records = b"19 path=other/name\n10 size=3\n";
        tar.append_data(&mut header(EntryType::XHeader, records.len() as u64), "pax", &records[..]).unwrap();
        file(tar, "x", b"abc");
    });
    let cut = plain.get(..1300).unwrap().to_vec();
    let base256 = build(&|tar| {
        let mut header = header(EntryType::Regular, 0);
        header.as_mut_bytes()[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        header.set_path("x").unwrap();
        header.set_cksum();
        tar.append(&header, &b"abc"[..]).unwrap();
    });
    vec![("plain", plain), ("links", links), ("long", long), ("pax", pax), ("cut", cut), ("base256", base256)]
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// Documents whose data are 4696 bytes: frames of 600 and of 4096.
fn releases() -> Vec<(&'static str, Value)> {
    let digest = |of: &str| Digest::of(of.as_bytes());
    let file = |path: &str, offset: u64| json!({ "path": path, "digest": digest(path), "span": { "offset": offset, "size": 5 } });
    let manifest = |content: &str| {
        json!({
            "media_type": "application/vnd.oci.image.manifest.v1+json", "digest": digest(content),
            "content": content
        })
    };
    let least = json!({
        "ferry": 1, "name": "site", "version": "1", "requires": { "platforms": ["linux/amd64"] },
        "manifest": file("ferry.yaml", 0), "compose": file("compose.yaml", 5), "images": [], "layers": [],
        "configs": [], "artifacts": [], "seeds": [], "built_with": "ferry 0.1.0"
    });
    let mut images = least.clone();
    images["layers"] = json!([{
        "digest": digest("layer"), "span": { "offset": 600, "size": 4096 },
        "zstd": { "digest": digest("zstd"), "size": 64 }
    }]);
    images["images"] = json!([
        {
            "reference": "acme/web:2", "platform": "linux/amd64", "config": file("c.json", 10),
            "diff_ids": [digest("layer")], "source": "docker-archive",
            "manifests": { "kind": "repacked", "tar": manifest("{}"), "zstd": manifest("[]") }
        },
        {
            "reference": "acme/app:2", "platform": "linux/arm64/v8", "config": file("d.json", 15),
            "diff_ids": [digest("diff")], "source": "oci",
            "manifests": {
                "kind": "preserved", "original": manifest("{}"), "blobs": [digest("layer")],
                "index": manifest("{\"manifests\":[]}")
            }
        }
    ]);
    let mut rest = least.clone();
    rest["requires"] =
        json!({ "engine": "20.10", "platforms": ["linux/amd64"], "memory_bytes": 1, "disk_bytes": 2 });
    rest["env_file"] = file(".env", 20);
    rest["templates"] = json!([file("templates/a.j2", 25)]);
    rest["compose_files"] = json!([{ "file": file("compose/conf/a", 30), "executable": true }]);
    rest["configs"] = json!([{
        "file": file("configs/b", 35), "from": "b.j2", "to": "config/b", "template": true, "mode": 420
    }]);
    rest["artifacts"] = json!([{
        "from": "git:../x@v1", "to": "x", "kind": "git", "commit": "abc", "files": 1, "bytes": 1,
        "digest": digest("x"), "entries": { "offset": 0, "size": 600 }
    }]);
    rest["seeds"] = json!([{ "volume": "v", "from": "s.tar", "file": file("seeds/v.tar", 40) }]);
    let need = |feature: &str, fz: &str| json!({ "feature": feature, "fz": fz });
    let mut version_2 = images.clone();
    version_2["ferry"] = json!(2);
    version_2["needs"] = json!([need("seed-owner", "0.2.0"), need("serial", "0.2.0")]);
    version_2["serial"] = json!(9_007_199_254_740_991_u64);
    version_2["seeds"] = rest["seeds"].clone();
    let mut lacks = least.clone();
    lacks["ferry"] = json!(2);
    lacks["needs"] = json!([need("data-epoch", "0.3.0"), need("update", "0.5.0")]);
    lacks["data"] = json!({ "epoch": 3 });
    vec![("least", least), ("images", images), ("rest", rest), ("version-2", version_2), ("lacks", lacks)]
}

fn bundles() -> Seeds {
    let with_frames = |release: &Value| [b"600 4096\n", bytes(release).as_slice()].concat();
    releases().into_iter().map(|(name, release)| (name, with_frames(&release))).collect()
}
