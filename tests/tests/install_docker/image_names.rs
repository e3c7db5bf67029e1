//! Lists show images by name, and services run by ID.

use fixtures::small_site::SmallSite;
use tests::bundle;
use tests::host::Host;

#[test]
fn lists_show_the_names_of_images_and_a_name_that_moved_changes_nothing_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|message| {
        let site =
            SmallSite { version: "1.0.0".to_owned(), message: message.to_owned(), ..SmallSite::default() };
        bundle::small(&folder.path().join(message), &site)
    });
    let host = Host::docker("image-names");
    let usual = ["small-front-1 small/front:1.0.0", "small-ticker-1 small/ticker:1"];
    let image = || host.inspect("small-front-1", "{{.Image}}");
    let _ = host.install(&one);
    let first = image();
    assert_eq!(host.images_shown(), usual);
    assert_eq!(host.inspect("small-front-1", "{{index .Config.Labels \"com.docker.compose.image\"}}"), first);

    // The same name for another image, and the way back.
    let [trust, fingerprint] = two.trust();
    let _ = host.run(&[trust, fingerprint, two.path()]).succeeds();
    assert_eq!(host.images_shown(), usual);
    assert_ne!(image(), first);
    let _ = host.run(&[one.path()]).succeeds();
    assert_eq!((host.images_shown(), image()), (usual.map(str::to_owned).to_vec(), first.clone()));

    // Somebody else takes the name: what runs stays, and what is made anew is made of the signed image.
    let before = host.id("small", "front");
    let _ = host.docker_text(&["tag", "small/ticker:1", "small/front:1.0.0"]);
    let _ = host.run(&[one.path()]).succeeds();
    assert_eq!((host.id("small", "front"), image()), (before.clone(), first.clone()));
    let _ = host.docker_text(&["rm", "--force", "small-front-1"]);
    let _ = host.run(&[one.path()]).succeeds();
    assert_ne!(host.id("small", "front"), before);
    assert_eq!(image(), first, "a name that somebody moved decided what runs");
    let aside = host.inspect("small-front-1", "{{.Config.Image}}");
    assert!(aside.starts_with("small/front:ferry-"), "{aside}");
    assert_eq!(host.images_shown(), [&format!("small-front-1 {aside}"), usual[1]]);
    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    assert_eq!(
        host.docker_text(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]),
        "small/front:1.0.0"
    );
}
