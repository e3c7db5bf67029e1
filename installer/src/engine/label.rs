//! Labels on everything that belongs to a project.
//!
//! Invariant: a container says of itself only what Ferry, or `docker compose`, made it say. A Compose file cannot set
//! these labels, but a container inherits its image's, and `docker compose build` writes some into every image. So
//! each one that an image has is set to nothing where Ferry does not set it, and nothing reads as no label.

use std::collections::BTreeMap;

/// The project. Compose's own, as all that begin with `com.docker.compose.`.
pub(crate) const PROJECT: &str = "com.docker.compose.project";
pub(crate) const SERVICE: &str = "com.docker.compose.service";
/// Which of the service's containers it is, from 1.
pub(crate) const NUMBER: &str = "com.docker.compose.container-number";
/// `db:service_healthy:false,…`: the order in which the project starts and stops.
pub(crate) const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Tells whether a service has changed.
pub(crate) const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// The folder that the project was installed from: `ROOT/PRODUCT/current`.
pub(crate) const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The network's key.
pub(crate) const NETWORK: &str = "com.docker.compose.network";
/// The volume's key.
pub(crate) const VOLUME: &str = "com.docker.compose.volume";
/// The release that created the container.
pub(crate) const RELEASE: &str = "io.ferry.release";
/// The name of the release folder that some of its mounts lie in, which must be kept as long as the
/// container exists.
pub(crate) const FOLDER: &str = "io.ferry.folder";
/// The attempt that created the thing, so that undoing it removes no more than that.
pub(crate) const ATTEMPT: &str = "io.ferry.attempt";
/// The restart policy, which is taken away from containers that have been replaced.
pub(crate) const RESTART: &str = "io.ferry.restart";
/// Milliseconds between probes while starting, for engines that cannot do it themselves.
pub(crate) const START_INTERVAL: &str = "io.ferry.start-interval";
/// `true` on a service that others wait for to complete: once it has, it is not run again.
pub(crate) const JOB: &str = "io.ferry.job";
/// Commands to be run after each start, as JSON.
pub(crate) const POST_START: &str = "io.ferry.post-start";
/// Commands to be run before each stop, as JSON.
pub(crate) const PRE_STOP: &str = "io.ferry.pre-stop";
/// On the helper that fills a volume: the volume's name.
pub(crate) const SEED_OF: &str = "io.ferry.seed-of";
/// Hash of a network's or volume's definition.
pub(crate) const DEFINITION: &str = "io.ferry.definition";

/// Sets those of an image's labels to nothing that would speak for Ferry in a container with the labels `own`.
pub(super) fn silence<'a>(
    own: &mut BTreeMap<String, String>,
    of_image: impl IntoIterator<Item = &'a String>,
) {
    for key in of_image.into_iter().filter(|key| manifest_schema::is_ferrys_label(key)) {
        own.entry(key.clone()).or_default();
    }
}

/// The labels of a container as they are read.
pub(super) fn spoken(labels: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let silenced = |key: &str, value: &str| value.is_empty() && manifest_schema::is_ferrys_label(key);
    labels.into_iter().filter(|(key, value)| !silenced(key, value)).collect()
}

/// The container is one of the project that its labels name, and no stranger whose image was built for that project.
pub(super) fn is_member(labels: &BTreeMap<String, String>) -> bool {
    [NUMBER, SEED_OF].iter().any(|key| labels.contains_key(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_image_says_nothing_in_the_name_of_ferry() {
        let mut own = labels(&[(PROJECT, "shop"), ("com.acme", "x")]);
        let image =
            labels(&[(PROJECT, "other"), (SEED_OF, "v"), (JOB, "true"), ("com.acme", "y"), ("z", "z")]);
        silence(&mut own, image.keys());
        // The engine gives a container the image's labels, and its own over them.
        let inherited = image.into_iter().chain(own);
        let read = spoken(inherited.collect::<BTreeMap<_, _>>());
        assert_eq!(read, labels(&[(PROJECT, "shop"), ("com.acme", "x"), ("z", "z")]));
        assert!(!is_member(&read), "an image of `docker compose build` makes no member");
        assert!(is_member(&labels(&[(PROJECT, "shop"), (NUMBER, "1")])));
    }
}
