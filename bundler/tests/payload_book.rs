//! FORMAT.md's sentences about the payload: its entries, their order, and what other programs make of
//! them. A bundle is built from a small site and taken apart with zstd's and tar's libraries alone.

#[cfg(test)]
mod payload {
    use bundle_format::PackOptions;
    use bundler::{Cancel, Request, ResolveOptions, SigningKey, build};
    use fixtures::docker_archive::{Compression, Dialect};
    use fixtures::small_site::SmallSite;
    use manifest_schema::progress::Silent;
    use manifest_schema::render::InProcess;
    use serde_json::Value;
    use sha2::{Digest as _, Sha256};
    use std::collections::BTreeMap;
    use std::io::Read as _;
    use std::path::Path;

    fn build_in(folder: &Path, threads: usize) -> Vec<u8> {
        let key = folder.join("release");
        fixtures::keys::write(folder, "release", 1).unwrap();
        let request = Request {
            manifest: folder.to_path_buf(),
            output: Some(folder.join("site.fz")),
            keys: vec![SigningKey::open(&key, &|_| None).unwrap()],
            pack: PackOptions { level: 3, threads },
            resolve: ResolveOptions { offline: true, ..ResolveOptions::default() },
            rename: None,
            renderer: &InProcess,
        };
        build(&request, &Silent, &Cancel::default()).unwrap();
        std::fs::read(folder.join("site.fz")).unwrap()
    }

    fn small() -> SmallSite {
        SmallSite { front_dialect: Dialect::Containerd(Compression::Zstd), ..SmallSite::default() }
    }

    /// A site with all that can stand in a payload.
    fn write_site(folder: &Path, preserve: bool) {
        small().write(folder).unwrap();
        std::fs::write(folder.join("app.env"), "COLOUR=blue\n").unwrap();
        std::fs::write(folder.join(".env"), "SIZE=large\n").unwrap();
        let compose = std::fs::read_to_string(folder.join("compose.yaml")).unwrap();
        let compose = compose.replace("  ticker:\n", "  ticker:\n    env_file: app.env\n");
        std::fs::write(folder.join("compose.yaml"), compose).unwrap();
        std::fs::create_dir(folder.join("seed")).unwrap();
        std::fs::write(folder.join("seed/ticks"), "7\n").unwrap();
        let mut manifest = std::fs::read_to_string(folder.join("ferry.yaml")).unwrap();
        manifest.push_str("volumes:\n  ticks: { seed: seed }\n");
        if preserve {
            let (old, new) = (
                "docker-archive:dist/front.tar",
                "{ from: \"docker-archive:dist/front.tar\", preserve: true }",
            );
            assert!(manifest.contains(old));
            manifest = manifest.replace(old, new);
        }
        std::fs::write(folder.join("ferry.yaml"), manifest).unwrap();
    }

    /// Names in order, and the content of each file.
    fn entries(bundle: &[u8]) -> (Vec<String>, BTreeMap<String, Vec<u8>>) {
        let tar = zstd::decode_all(bundle).unwrap();
        let (mut names, mut files) = (Vec::new(), BTreeMap::new());
        for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            names.push(name.clone());
            files.insert(name, content);
        }
        (names, files)
    }

    fn json(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
        serde_json::from_slice(&files[name]).unwrap()
    }

    fn digest(content: &[u8]) -> String {
        let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, digest: &Value) -> &'a [u8] {
        &files[&format!("blobs/sha256/{}", digest.as_str().unwrap().strip_prefix("sha256:").unwrap())]
    }

    #[test]
    fn entries_stand_in_the_order_of_the_book() {
        let folder = tempfile::tempdir().unwrap();
        write_site(folder.path(), false);
        let (names, files) = entries(&build_in(folder.path(), 2));
        let release = json(&files, "ferry.json");
        let images = release["images"].as_array().unwrap();
        let path = |digest: &Value| digest.as_str().unwrap().replacen("sha256:", "blobs/sha256/", 1);
        let mut expected: Vec<String> =
            ["ferry.json", "oci-layout", "index.json", "manifest.json"].map(str::to_owned).to_vec();
        let mut manifests: Vec<String> =
            images.iter().map(|image| path(&image["manifests"]["tar"]["digest"])).collect();
        manifests.sort();
        expected.extend(manifests);
        for name in
            ["ferry.yaml", "compose.yaml", "compose/.env", "compose/app.env", "configs/config/banner.txt"]
        {
            expected.push(name.to_owned());
        }
        expected.extend(images.iter().map(|image| path(&image["config"]["digest"])));
        expected.extend(release["layers"].as_array().unwrap().iter().map(|layer| path(&layer["digest"])));
        expected.push("seeds/ticks.tar".to_owned());
        let (front, artifacts) = names.split_at(expected.len());
        assert_eq!(front, expected);
        assert!(
            artifacts.len() >= 4 && artifacts.iter().all(|name| name.starts_with("artifacts/")),
            "{artifacts:?}"
        );
        // The base layer is in both images, the ticker's program twice in one: each lies here once.
        let used: usize = images.iter().map(|image| image["diff_ids"].as_array().unwrap().len()).sum();
        assert_eq!((used, release["layers"].as_array().unwrap().len()), (5, 3));
        assert_eq!(names.len(), files.len(), "no name stands twice");
    }

    #[test]
    fn layers_are_plain_tar_or_kept_byte_for_byte() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        write_site(folders[0].path(), false);
        write_site(folders[1].path(), true);
        let [repacked, preserved] = folders.each_ref().map(|folder| entries(&build_in(folder.path(), 2)).1);
        let front = |files: &BTreeMap<String, Vec<u8>>| json(files, "ferry.json")["images"][0].clone();
        let (a, b) = (front(&repacked), front(&preserved));
        assert_eq!(a["reference"], b["reference"]);
        assert_eq!(
            (&a["manifests"]["kind"], &b["manifests"]["kind"]),
            (&"repacked".into(), &"preserved".into())
        );
        for (diff_id, stored) in
            a["diff_ids"].as_array().unwrap().iter().zip(b["manifests"]["blobs"].as_array().unwrap())
        {
            let tar = blob(&repacked, diff_id);
            assert_eq!(digest(tar), diff_id.as_str().unwrap());
            assert!(tar::Archive::new(tar).entries().unwrap().all(|entry| entry.is_ok()));
            // As the archive had it: zstd, of another digest, with the same content.
            let original = blob(&preserved, stored);
            assert_eq!(digest(original), stored.as_str().unwrap());
            assert_eq!(zstd::decode_all(original).unwrap(), tar);
        }
        let manifest = &b["manifests"]["original"];
        assert_eq!(digest(blob(&preserved, &manifest["digest"])), manifest["digest"].as_str().unwrap());
    }

    #[test]
    fn the_payload_is_an_oci_layout_and_a_docker_archive() {
        let folder = tempfile::tempdir().unwrap();
        write_site(folder.path(), false);
        let (_, files) = entries(&build_in(folder.path(), 2));
        assert_eq!(json(&files, "oci-layout")["imageLayoutVersion"], "1.0.0");
        let index = json(&files, "index.json");
        let archive = json(&files, "manifest.json");
        let images = index["manifests"].as_array().unwrap();
        assert_eq!((images.len(), archive.as_array().unwrap().len()), (2, 2));
        for (descriptor, listed) in images.iter().zip(archive.as_array().unwrap()) {
            let manifest = blob(&files, &descriptor["digest"]);
            assert_eq!(digest(manifest), descriptor["digest"].as_str().unwrap());
            assert_eq!(descriptor["size"], manifest.len());
            let manifest: Value = serde_json::from_slice(manifest).unwrap();
            let config: Value = serde_json::from_slice(blob(&files, &manifest["config"]["digest"])).unwrap();
            let layers = manifest["layers"].as_array().unwrap();
            for (layer, diff_id) in layers.iter().zip(config["rootfs"]["diff_ids"].as_array().unwrap()) {
                assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar");
                assert_eq!(layer["digest"], *diff_id);
                assert_eq!(digest(blob(&files, diff_id)), diff_id.as_str().unwrap());
                assert_eq!(layer["size"], blob(&files, diff_id).len());
            }
            // The Docker archive names the same files.
            assert_eq!(
                &files[listed["Config"].as_str().unwrap()],
                blob(&files, &manifest["config"]["digest"])
            );
            for (path, layer) in listed["Layers"].as_array().unwrap().iter().zip(layers) {
                assert_eq!(&files[path.as_str().unwrap()], blob(&files, &layer["digest"]));
            }
            assert_eq!(listed["RepoTags"][0], descriptor["annotations"]["org.opencontainers.image.ref.name"]);
        }
    }

    #[test]
    fn equal_inputs_give_equal_files() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for folder in &folders {
            write_site(folder.path(), false);
        }
        // Other times and another order of directory entries.
        let moved = folders[1].path().join("files/moved");
        let file = folders[1].path().join("files/readme.txt");
        std::fs::rename(&file, &moved).unwrap();
        std::fs::rename(&moved, &file).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(long_ago).unwrap();
        let one = build_in(folders[0].path(), 1);
        let two = build_in(folders[1].path(), 5);
        assert!(one == two, "{} and {} bytes", one.len(), two.len());
    }
}
