//! Outputs that cannot be described: an error with its class, and no file.

use super::*;
use crate::sources::OriginalManifest;
use manifest_schema::progress::Silent;

#[test]
fn what_cannot_be_described_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("compose.yaml", "services:\n  api: { image: 'acme/api:1' }\n");
    write(
        "ferry.yaml",
        "ferry: 1\nname: site\nversion: 1.0.0\ncompose: compose.yaml\n\
         images:\n  acme/api:1: { from: 'oci:dist/api', preserve: true }\n",
    );
    let inputs = crate::inputs::read(folder.path(), &manifest_schema::render::InProcess).unwrap();
    let bytes = b"{\"annotations\":{\"x\":\"\xff\"}}".to_vec();
    let original = OriginalManifest {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        digest: Digest::of(&bytes),
        bytes,
    };
    let image = |diff_ids: Vec<Digest>, original: Option<OriginalManifest>| FoundImage {
        reference: "acme/api:1".parse().unwrap(),
        platform: "linux/amd64".parse().unwrap(),
        config: b"{}".to_vec(),
        diff_ids,
        layers: Vec::new(),
        original,
        index: None,
        source: "oci",
        label: "dist/api".to_owned(),
    };
    let lost = image(vec![Digest::of(b"a layer that nobody packed")], None);
    for (image, class, fact) in [
        (image(Vec::new(), Some(original)), Class::Input, "a manifest of image acme/api:1 in dist/api"),
        (lost, Class::Other, "a layer of acme/api:1 was not packed"),
    ] {
        let output = folder.path().join("site.fz");
        let job = Job {
            inputs: &inputs,
            images: &[image],
            artifacts: &[],
            seeds: &[],
            keys: &[],
            options: PackOptions { level: 1, threads: 1 },
            progress: &Silent,
            cancel: &Cancel::default(),
        };
        let error = job.pack(&output).unwrap_err();
        assert_eq!(ferry_terminal::class_of(&error), class, "{error:#}");
        assert!(format!("{error:#}").contains(fact), "{error:#}");
        let names = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.filter(|name| name != "ferry.yaml" && name != "compose.yaml").count(), 0);
    }
}
