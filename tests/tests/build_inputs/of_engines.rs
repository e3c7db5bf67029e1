//! Names and limits of engines that the build has to know.

use super::{Site, assert_holds};
use fixtures::small_site::SmallSite;
use fixtures::{Dialect, ImageSpec, docker_archive};
use std::fs;
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs::{self, stock};

#[test]
fn an_image_that_some_engines_refuse_is_built_with_a_warning() {
    let words = "has 126 layers: Docker with overlay2 takes 125";
    let mut site = Site::new();
    site.front_from(None);
    let page = site.images[0].layers[1].clone();
    site.images[0].layers.resize(125, page.clone());
    site.archive(&site.images[..1], Dialect::Docker20, "images/front.tar");
    let _ = site.try_build(&["--offline"]).succeeds().does_not_say("layers:");
    site.images[0].layers.push(page);
    site.archive(&site.images[..1], Dialect::Docker20, "images/front.tar");
    let _ = site.try_build(&["--offline"]).succeeds().says(words);
}

#[test]
fn podmans_names_are_those_that_its_users_mean() {
    const LOCAL: &str = "localhost/small/front:1.0.0";
    const HUB: &str = "docker.io/small/front:1.0.0";
    let host = Host::podman("build-names");
    let engine = host.engine.host();
    let arguments = ["--offline", "--engine", engine.as_str()];
    // Another build of the same name.
    let other = SmallSite { message: "other".to_owned(), ..SmallSite::default() };
    let layers = tempfile::tempdir().unwrap();
    let other = other.images(layers.path()).unwrap();
    let fresh = |source: Option<&str>| {
        let site = Site::new();
        site.front_from(source);
        site
    };
    let holds = |source: Option<&str>, spec: &ImageSpec, what: &str| {
        let site = fresh(source);
        let built = site.build(&arguments);
        assert_holds(&built.inspect()["release"], "small/front:1.0.0", spec, what);
    };
    let site = fresh(None);
    let archive = site.archive(&site.images[..1], Dialect::Docker20, "../front.tar");
    let _ = host.docker_text(&["load", "--input", archive.to_str().unwrap()]);
    let names = || host.docker_text(&["image", "inspect", "--format", "{{.RepoTags}}", "small/front:1.0.0"]);
    assert_eq!(names(), format!("[{LOCAL}]"));
    holds(None, &site.images[0], "built here");

    // Archives that Podman and skopeo write of it, where no engine is.
    let saved = site.path().join("images/saved.tar");
    fs::create_dir_all(saved.parent().unwrap()).unwrap();
    let _ = host.docker_text(&["save", "--output", saved.to_str().unwrap(), LOCAL]);
    let built = site.build(&["--offline"]);
    assert_holds(&built.inspect()["release"], "small/front:1.0.0", &site.images[0], "Podman's archive");
    let copied = site.path().join("images/copied.tar");
    let mut skopeo = programs::command(stock("skopeo"));
    skopeo.args(["--insecure-policy", "copy"]).arg(format!("docker-archive:{}", saved.display()));
    let _ = Outcome::of(skopeo.arg(format!("docker-archive:{}:{HUB}", copied.display()))).succeeds();
    fs::remove_file(&saved).unwrap();
    let built = site.build(&["--offline"]);
    assert_holds(&built.inspect()["release"], "small/front:1.0.0", &site.images[0], "skopeo's archive");

    // As a pull from the registry leaves it. Docker's client shortens the name, and Podman takes that for `localhost`.
    docker_archive::write(&site.images[..1], Dialect::Podman, &archive).unwrap();
    let _ = host.docker_text(&["load", "--input", archive.to_str().unwrap()]);
    assert_eq!(names(), format!("[{HUB} {LOCAL}]"));
    holds(None, &site.images[0], "one image of both names");
    let _ = host.docker_text(&["rmi", LOCAL]);
    assert_eq!(names(), format!("[{HUB}]"));
    holds(None, &site.images[0], "pulled");

    // Both names, for different images.
    docker_archive::write(&other[..1], Dialect::Docker20, &archive).unwrap();
    let _ = host.docker_text(&["load", "--input", archive.to_str().unwrap()]);
    let refused = fresh(None).try_build(&arguments).exits(3);
    let refused = refused.says("image `small/front:1.0.0` is two images in the engine at");
    let _ = refused.says(&format!("`docker-daemon:{LOCAL}` or `docker-daemon:{HUB}`"));
    let _ =
        fresh(Some("docker-daemon:small/front:1.0.0")).try_build(&arguments).exits(3).says("is two images");
    holds(Some(&format!("docker-daemon:{LOCAL}")), &other[0], "the one built here");
    holds(Some(&format!("docker-daemon:{HUB}")), &site.images[0], "the one of the registry");

    // The same in an archive.
    let both = site.path().join("both.tar");
    let _ = host.docker_text(&["save", "--output", both.to_str().unwrap(), LOCAL, HUB]);
    let archived = |reference: &str| {
        let site = fresh(Some(&format!("docker-archive:both.tar{reference}")));
        fs::copy(&both, site.path().join("both.tar")).unwrap();
        site
    };
    let _ =
        archived("").try_build(&arguments).exits(3).says("two different images have this name").says(LOCAL);
    for (name, spec) in [(LOCAL, &other[0]), (HUB, &site.images[0])] {
        let site = archived(&format!(":{name}"));
        let built = site.build(&arguments);
        assert_holds(&built.inspect()["release"], "small/front:1.0.0", spec, name);
    }
}
