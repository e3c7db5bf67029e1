//! Labels on everything that belongs to a project.

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
