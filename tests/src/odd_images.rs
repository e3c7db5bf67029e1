//! Sites with images as odd tools make them.

use crate::bundle::{self, Built};
use fixtures::layer::Layer;
use fixtures::small_site::SmallSite;
use fixtures::{Dialect, ImageSpec, docker_archive};
use std::path::Path;

/// The small site with its two images changed.
fn with(folder: &Path, change: impl FnOnce(&mut [ImageSpec; 2])) -> Built {
    let layers = folder.join("layers");
    std::fs::create_dir_all(&layers).unwrap();
    let mut images = SmallSite::default().images(&layers).unwrap();
    change(&mut images);
    bundle::changed(folder, &SmallSite::default(), |site| {
        for (image, name) in images.iter().zip(["front", "ticker"]) {
            let archive = site.join(format!("dist/{name}.tar"));
            docker_archive::write(std::slice::from_ref(image), Dialect::Docker20, &archive).unwrap();
        }
    })
}

/// One image has no platform in its configuration, the other an empty one.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn without_platform(folder: &Path) -> Built {
    with(folder, |[front, ticker]| {
        front.platform = String::new();
        ticker.platform = "/".to_owned();
    })
}

/// The image `small/front` has this many layers.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn of_layers(folder: &Path, count: usize) -> Built {
    with(folder, |[front, _]| {
        for number in front.layers.len()..count {
            let layer = Layer::new().file(&format!("srv{number}"), 0o644, "x");
            let layer = layer.write(&folder.join(format!("layers/{number}.tar"))).unwrap();
            front.layers.push(layer);
        }
    })
}
