//! Containers: listing, inspecting, starting, stopping, renaming, removing.

use super::container_spec::restart_policy;
use super::{CALL_TIMEOUT, Engine, EngineKind, ImageId, Result, checked, failure, label};
use bollard::models::ContainerUpdateBody;
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder, StartContainerOptions, StopContainerOptions,
};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Longest graceful stop that is waited for. The engine kills after the container's own time, so
/// this only bounds a hanging engine.
const STOP_TIMEOUT: Duration = Duration::from_secs(3600);

/// A container as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Full ID.
    pub id: String,
    /// Name without the leading slash.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The image's ID.
    pub image_id: String,
    /// Its run state.
    pub state: RunState,
    /// `0.0.0.0:80->80/tcp`.
    pub ports: Vec<String>,
}

impl ContainerFacts {
    /// It runs, or will in a moment.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self.state, RunState::Running | RunState::Restarting | RunState::Paused)
    }
}

/// The run state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Made, never started.
    Created,
    /// Runs.
    Running,
    /// Stopped for a moment by its owner.
    Paused,
    /// Has exited and is about to be started again.
    Restarting,
    /// Has exited.
    Exited,
    /// Is being removed, or could not be.
    Removing,
}

impl RunState {
    fn parse(text: &str) -> Self {
        match text {
            "running" | "stopping" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "created" | "configured" | "initialized" | "" => Self::Created,
            "removing" | "dead" => Self::Removing,
            _ => Self::Exited,
        }
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
        })
    }
}

/// The result of the engine's own health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not known yet.
    Starting,
    /// The last probe passed.
    Healthy,
    /// As many probes in a row failed as the check allows.
    Unhealthy,
}

/// A container as an inspect shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// Full ID.
    pub id: String,
    /// Name without the leading slash.
    pub name: String,
    /// The image that it was made of, where the engine names it by ID.
    pub image: Option<ImageId>,
    /// Its run state.
    pub state: RunState,
    /// Exit code of the last run; 0 before the first.
    pub exit_code: i64,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
    /// How often the engine has restarted it by itself.
    pub restarts: u64,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    pub finished_at: String,
    /// Health, where a check is set.
    pub health: Option<Health>,
    /// The last probes: exit code and output.
    pub probes: Vec<(i64, String)>,
    /// The health check's command in effect (the service's or the image's), without `NONE`.
    pub health_test: Option<Vec<String>>,
    /// Times of the check in effect: interval, timeout, start period, start interval; zero where
    /// the engine's default is meant.
    pub health_times: [Duration; 4],
    /// Failures in a row until unhealthy; 0 where the default is meant.
    pub health_retries: u32,
    /// Restart policy, `always`.
    pub restart: String,
    /// Volumes: path and name.
    pub volumes: Vec<(String, String)>,
    /// Sources of bind mounts on the engine's host.
    pub binds: Vec<String>,
}

impl Engine {
    /// All containers of projects, running or not, that carry `label=value`, in the order of their names.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn containers(&self, label: &str, value: &str) -> Result<Vec<ContainerFacts>> {
        let filters = HashMap::from([("label", vec![format!("{label}={value}")])]);
        let mut containers = self.list_containers(&filters).await?;
        containers.retain(|container| {
            let has = container.labels.get(label).is_some_and(|has| has == value);
            has && label::is_member(&container.labels)
        });
        Ok(containers)
    }

    /// All containers, of every project and of none, in the order of their names.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn all_containers(&self) -> Result<Vec<ContainerFacts>> {
        self.list_containers(&HashMap::new()).await
    }

    async fn list_containers(&self, filters: &HashMap<&str, Vec<String>>) -> Result<Vec<ContainerFacts>> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(filters).build();
        let action = "list its containers";
        let list = if self.facts.kind == EngineKind::Podman {
            let filters = serde_json::json!(filters);
            self.ask_podman(action, "/containers/json", &[("all", "true"), ("filters", &filters.to_string())])
                .await?
        } else {
            self.docker.list_containers(Some(options)).await.map_err(|e| failure(action, e))?
        };
        let mut containers: Vec<ContainerFacts> = list
            .into_iter()
            .map(|container| ContainerFacts {
                id: container.id.unwrap_or_default(),
                name: container
                    .names
                    .unwrap_or_default()
                    .iter()
                    .map(|name| name.trim_start_matches('/'))
                    // Links of other containers would show as `other/alias`.
                    .find(|name| !name.contains('/'))
                    .unwrap_or_default()
                    .to_owned(),
                labels: label::spoken(container.labels.unwrap_or_default()),
                image_id: container.image_id.unwrap_or_default(),
                state: RunState::parse(container.state.as_ref().map_or("", |state| state.as_ref())),
                ports: ports(container.ports.unwrap_or_default()),
            })
            .collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// One container by ID or name, or `None`.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn inspect(&self, container: &str) -> Result<Option<ContainerState>> {
        let action = format!("inspect container {container}");
        let name = checked("container", container)?;
        let found = if self.facts.kind == EngineKind::Podman {
            self.ask_podman(&action, &format!("/containers/{name}/json"), &[]).await
        } else {
            let options = None::<InspectContainerOptions>;
            self.docker.inspect_container(name, options).await.map_err(|e| failure(action, e))
        };
        match found {
            Ok(found) => Ok(Some(state(found))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Starts a container; one that runs is left alone.
    ///
    /// # Errors
    /// When the engine fails, or cannot start it: a port taken, a program missing.
    pub async fn start(&self, container: &str) -> Result<()> {
        self.docker
            .start_container(checked("container", container)?, None::<StartContainerOptions>)
            .await
            .map_err(|e| failure("start the container", e))
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// When the engine fails, or the container is not paused.
    pub async fn unpause(&self, container: &str) -> Result<()> {
        self.docker
            .unpause_container(checked("container", container)?)
            .await
            .map_err(|e| failure("let the container go on", e))
    }

    /// Stops a container gracefully, with its own signal and time. One that is gone or stopped is
    /// left alone.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn stop(&self, container: &str) -> Result<()> {
        let docker = self.patient(STOP_TIMEOUT);
        match docker.stop_container(checked("container", container)?, None::<StopContainerOptions>).await {
            Ok(()) => Ok(()),
            Err(error) => match failure(format!("stop container {container}"), error) {
                error if error.is_not_found() => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// When the name is taken, the container is gone, or the engine fails.
    pub async fn rename(&self, container: &str, name: &str) -> Result<()> {
        let options = RenameContainerOptionsBuilder::new().name(checked("container", name)?).build();
        self.docker
            .rename_container(checked("container", container)?, options)
            .await
            .map_err(|e| failure(format!("rename a container to {name}"), e))
    }

    /// Removes a container, running or not; with `volumes` also its volumes without a name. One
    /// that is gone, or on its way out, counts as removed.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn remove_container(&self, container: &str, volumes: bool) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(volumes).build();
        let docker = self.patient(CALL_TIMEOUT);
        match docker.remove_container(checked("container", container)?, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) => match failure(format!("remove container {container}"), error) {
                error if error.is_not_found() || error.is_conflict() => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Sets the restart policy of a container that exists. Podman 4 cannot; there it does nothing.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn set_restart(&self, container: &str, policy: &str) -> Result<()> {
        if self.facts.kind == EngineKind::Podman {
            return Ok(());
        }
        let body = ContainerUpdateBody { restart_policy: Some(restart_policy(policy)), ..Default::default() };
        match self.docker.update_container(checked("container", container)?, body).await {
            Ok(()) => Ok(()),
            Err(error) => match failure(format!("change container {container}"), error) {
                error if error.is_not_found() => Ok(()),
                error => Err(error),
            },
        }
    }
}

/// Ports as people read them, each once: an engine lists IPv4 and IPv6 apart.
fn ports(list: Vec<bollard::models::PortSummary>) -> Vec<String> {
    let mut texts: Vec<String> = list
        .into_iter()
        .map(|port| {
            let protocol = port.typ.map_or_else(|| "tcp".to_owned(), |typ| typ.to_string());
            match port.public_port {
                Some(public) => {
                    let ip = port
                        .ip
                        .filter(|ip| !ip.is_empty() && ip != "::")
                        .unwrap_or_else(|| "0.0.0.0".to_owned());
                    format!("{ip}:{public}->{}/{protocol}", port.private_port)
                }
                None => format!("{}/{protocol}", port.private_port),
            }
        })
        .collect();
    texts.sort();
    texts.dedup();
    texts
}

fn state(found: bollard::models::ContainerInspectResponse) -> ContainerState {
    let state = found.state.unwrap_or_default();
    let config = found.config.unwrap_or_default();
    let health = state.health.unwrap_or_default();
    let check = config.healthcheck.unwrap_or_default();
    let test =
        check.test.filter(|test| test.first().is_some_and(|first| first != "NONE" && !first.is_empty()));
    let time =
        |nanos: Option<i64>| Duration::from_nanos(nanos.and_then(|n| u64::try_from(n).ok()).unwrap_or(0));
    let policy = found.host_config.and_then(|host| host.restart_policy).unwrap_or_default();
    let policy_name = policy.name.map(|name| name.to_string()).filter(|name| !name.is_empty());
    let mounts = found.mounts.unwrap_or_default();
    let of_type = |kind| mounts.iter().filter(move |mount| mount.typ.as_deref() == Some(kind));
    ContainerState {
        id: found.id.unwrap_or_default(),
        name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: found.image.and_then(|image| image.parse().ok()),
        state: RunState::parse(state.status.as_ref().map_or("", |status| status.as_ref())),
        exit_code: state.exit_code.unwrap_or(0),
        oom_killed: state.oom_killed.unwrap_or(false),
        restarts: found.restart_count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
        started_at: state.started_at.unwrap_or_default(),
        finished_at: state.finished_at.unwrap_or_default(),
        health: match health.status.as_ref().map(|status| status.as_ref()) {
            Some("healthy") => Some(Health::Healthy),
            Some("unhealthy") => Some(Health::Unhealthy),
            Some("starting") => Some(Health::Starting),
            _ => test.as_ref().map(|_| Health::Starting),
        },
        probes: health
            .log
            .unwrap_or_default()
            .into_iter()
            .map(|probe| (probe.exit_code.unwrap_or(0), probe.output.unwrap_or_default()))
            .collect(),
        health_test: test,
        health_times: [check.interval, check.timeout, check.start_period, check.start_interval].map(time),
        health_retries: check.retries.and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        restart: match (policy_name.as_deref(), policy.maximum_retry_count) {
            (Some("on-failure"), Some(count)) if count > 0 => format!("on-failure:{count}"),
            (Some(name), _) => name.to_owned(),
            (None, _) => "no".to_owned(),
        },
        volumes: of_type("volume")
            .filter_map(|mount| Some((mount.destination.clone()?, mount.name.clone()?)))
            .collect(),
        binds: of_type("bind").filter_map(|mount| mount.source.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_both_engines() {
        for (text, state) in [
            ("running", RunState::Running),
            ("stopping", RunState::Running),
            ("configured", RunState::Created),
            ("stopped", RunState::Exited),
            ("exited", RunState::Exited),
            ("dead", RunState::Removing),
        ] {
            assert_eq!(RunState::parse(text), state, "{text}");
        }
    }

    #[test]
    fn a_port_on_both_address_families_is_one() {
        let port = |ip: &str, public| bollard::models::PortSummary {
            ip: Some(ip.to_owned()),
            private_port: 80,
            public_port: public,
            typ: None,
        };
        let list = ports(vec![port("0.0.0.0", Some(8080)), port("::", Some(8080)), port("", None)]);
        assert_eq!(list, ["0.0.0.0:8080->80/tcp", "80/tcp"]);
    }
}
