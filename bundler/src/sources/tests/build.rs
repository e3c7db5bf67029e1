//! Builders of image archives as each program writes them.

use manifest_schema::Digest;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

/// A tar under construction.
pub(super) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(super) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(super) fn file(mut self, name: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        self.0.append_data(&mut header, name, content).unwrap();
        self
    }

    pub(super) fn link(mut self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o777);
        header.set_entry_type(kind);
        self.0.append_link(&mut header, name, target).unwrap();
        self
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, name, target)
    }

    /// A header with a name that the builder would refuse.
    pub(super) fn raw(mut self, name: &str, flag: u8, size: u64, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_size(size);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// A layer that holds one file.
pub(super) fn layer(name: &str, bytes: usize) -> Vec<u8> {
    let content: Vec<u8> = (0..bytes).map(|at| (at * 31 % 251) as u8).collect();
    Tar::new().file(name, &content).bytes()
}

/// A configuration over layers.
pub(super) fn config(platform: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = platform.split('/');
    let mut config = json!({
        "os": parts.next(), "architecture": parts.next(),
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| Digest::of(layer)).collect::<Vec<_>>()},
    });
    if let Some(variant) = parts.next() {
        config["variant"] = variant.into();
    }
    serde_json::to_vec(&config).unwrap()
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).unwrap()
}

fn manifest_json(config: &str, tags: &[&str], layers: &[String]) -> Value {
    json!({"Config": config, "RepoTags": tags, "Layers": layers})
}

/// As Engine 20.10 writes it: `<id>/layer.tar`; a layer that occurs again is a symbolic link.
pub(super) fn engine_20(tags: &[&str], layers: &[Vec<u8>]) -> Vec<u8> {
    let config = config("linux/amd64", layers);
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let mut tar = Tar::new();
    let mut names: Vec<String> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let id = Digest::of(format!("id {index}").as_bytes()).hex();
        let name = format!("{id}/layer.tar");
        tar = tar.raw(&format!("{id}/"), b'5', 0, b"").file(&format!("{id}/VERSION"), b"1.0");
        tar = match layers[..index].iter().position(|other| other == layer) {
            Some(first) => tar.symlink(&name, &format!("../{}", names[first])),
            None => tar.file(&name, layer),
        };
        names.push(name);
    }
    let manifest = json!([manifest_json(&config_name, tags, &names)]);
    tar.file(&config_name, &config)
        .file("manifest.json", &serde_json::to_vec(&manifest).unwrap())
        .file("repositories", b"{}")
        .bytes()
}

/// As Podman writes it: `<digest>.tar`.
pub(super) fn podman(tags: &[&str], layers: &[Vec<u8>]) -> Vec<u8> {
    let config = config("linux/amd64", layers);
    let names: Vec<String> = layers.iter().map(|layer| format!("{}.tar", Digest::of(layer).hex())).collect();
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let manifest = json!([manifest_json(&config_name, tags, &names)]);
    let mut tar = Tar::new();
    for (name, layer) in names.iter().zip(layers) {
        tar = tar.file(name, layer);
    }
    tar.file(&config_name, &config).file("manifest.json", &serde_json::to_vec(&manifest).unwrap()).bytes()
}

/// A descriptor of `content`.
pub(super) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(content), "size": content.len()})
}

/// An OCI image layout as a list of files.
#[derive(Default, Clone)]
pub(super) struct Layout {
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) entries: Vec<Value>,
}

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

impl Layout {
    pub(super) fn blob(&mut self, content: &[u8]) {
        let name = format!("blobs/sha256/{}", Digest::of(content).hex());
        if !self.files.iter().any(|(other, _)| other == &name) {
            self.files.push((name, content.to_vec()));
        }
    }

    /// Adds an image's blobs and gives its manifest's descriptor, with platform.
    pub(super) fn image(
        &mut self,
        platform: &str,
        layers: &[Vec<u8>],
        compress: fn(&[u8]) -> Vec<u8>,
    ) -> Value {
        let config = config(platform, layers);
        let stored: Vec<Vec<u8>> = layers.iter().map(|layer| compress(layer)).collect();
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config),
            // The media type says gzip whatever the bytes are: only the bytes count.
            "layers": stored.iter().map(|blob| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", blob)).collect::<Vec<_>>(),
        }))
        .unwrap();
        for blob in stored.iter().chain([&config, &manifest]) {
            self.blob(blob);
        }
        let mut entry = descriptor(MANIFEST, &manifest);
        let mut parts = platform.split('/');
        entry["platform"] = json!({"os": parts.next(), "architecture": parts.next()});
        if let Some(variant) = parts.next() {
            entry["platform"]["variant"] = variant.into();
        }
        entry
    }

    /// Adds an index and gives its descriptor.
    pub(super) fn index(&mut self, children: &[Value]) -> Value {
        let index =
            serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}))
                .unwrap();
        self.blob(&index);
        descriptor(INDEX, &index)
    }

    /// Lists a descriptor at the top under annotations.
    pub(super) fn list(&mut self, mut entry: Value, annotations: &[(&str, &str)]) {
        for (key, value) in annotations {
            entry["annotations"][*key] = (*value).into();
        }
        self.entries.push(entry);
    }

    pub(super) fn all(&self) -> Vec<(String, Vec<u8>)> {
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        let mut files = self.files.clone();
        files.push(("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        files.push(("index.json".into(), serde_json::to_vec(&index).unwrap()));
        files
    }

    pub(super) fn tar(&self) -> Vec<u8> {
        self.all().iter().fold(Tar::new(), |tar, (name, content)| tar.file(name, content)).bytes()
    }

    pub(super) fn write(&self, folder: &Path) {
        for (name, content) in self.all() {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    /// The archive with `manifest.json` beside the layout, as Engine 25 and later write it.
    pub(super) fn hybrid(
        &self,
        tags: &[&str],
        platform: &str,
        layers: &[Vec<u8>],
        compress: fn(&[u8]) -> Vec<u8>,
    ) -> Vec<u8> {
        let blob = |content: &[u8]| format!("blobs/sha256/{}", Digest::of(content).hex());
        let names: Vec<String> = layers.iter().map(|layer| blob(&compress(layer))).collect();
        let manifest = json!([manifest_json(&blob(&config(platform, layers)), tags, &names)]);
        let mut all = self.all();
        all.push(("manifest.json".into(), serde_json::to_vec(&manifest).unwrap()));
        all.iter().fold(Tar::new(), |tar, (name, content)| tar.file(name, content)).bytes()
    }
}

pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Bytes as they are.
pub(super) fn plain(content: &[u8]) -> Vec<u8> {
    content.to_vec()
}
