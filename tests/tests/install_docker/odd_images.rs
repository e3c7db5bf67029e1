//! Images as odd tools make them, on an engine.

use crate::PORT;
use tests::host::Host;
use tests::odd_images;
use tests::snapshot::assert_unchanged;

#[test]
fn images_that_name_no_platform_are_installed_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let built = odd_images::without_platform(folder.path());
    let host = Host::docker("no-platform");
    let _ = host.install(&built).says("small 1.0.0 runs");
    assert_eq!(host.page(PORT), "hello from the small site");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
    let _ = host.run(&[built.path()]).succeeds().says("nothing to do");
}

#[test]
fn an_image_of_more_layers_than_the_store_takes_is_found_before_anything_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let [most, more] =
        [125, 126].map(|count| odd_images::of_layers(&folder.path().join(count.to_string()), count));
    let host = Host::docker("deep-images");
    let before = host.snapshot();
    let [trust, fingerprint] = more.trust();
    let arguments = [trust, fingerprint, more.path()];
    let is_containerd = host.docker_text(&["info", "--format", "{{.DriverStatus}}"]).contains("snapshotter");
    if is_containerd {
        let _ = host.run(&arguments).succeeds();
        assert_eq!(host.page(PORT), "hello from the small site");
        return;
    }
    let refused = host
        .run(&arguments)
        .exits(7)
        .says("small/front:1.0.0 has 126 layers, and this engine's store takes 125");
    let _ = refused.says("nothing was changed");
    assert_unchanged(&before, &host.snapshot(), "an image with too many layers");
    let _ = host.install(&most);
    assert_eq!(host.page(PORT), "hello from the small site");
}
