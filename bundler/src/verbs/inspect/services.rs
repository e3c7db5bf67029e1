//! The services of a release as `ferry inspect` shows them: what will run, and with what.

use ferry_terminal::human;
use manifest_schema::ServiceName;
use manifest_schema::compose::model::{Condition, FileMount, MountSource, Port, Project, Service};
use serde::Serialize;
use std::fmt::Write as _;

/// A service with its defaults. Texts are as in a Compose file: `127.0.0.1:8080:80/tcp`, `data:/data:ro`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Runs {
    name: ServiceName,
    image: String,
    containers: u16,
    /// Services that it waits for, each with the state it waits for.
    after: Vec<String>,
    ports: Vec<String>,
    volumes: Vec<String>,
    /// Files and folders that the bundle carries, or that are made on site.
    files: Vec<String>,
    /// Paths of the host.
    host_paths: Vec<String>,
    configs: Vec<String>,
    secrets: Vec<String>,
}

/// The services of `project`, by name.
#[must_use]
pub(super) fn of(project: &Project) -> Vec<Runs> {
    project.services.iter().map(|(name, service)| runs(name, service)).collect()
}

fn runs(name: &ServiceName, service: &Service) -> Runs {
    let mut runs = Runs {
        name: name.clone(),
        image: service.image.clone(),
        containers: service.containers(),
        after: Vec::new(),
        ports: service.ports.iter().map(port).collect(),
        volumes: Vec::new(),
        files: Vec::new(),
        host_paths: Vec::new(),
        configs: files(&service.configs),
        secrets: files(&service.secrets),
    };
    for (name, dependency) in &service.depends_on {
        let state = match dependency.condition {
            Condition::ServiceStarted => "started",
            Condition::ServiceHealthy => "healthy",
            Condition::ServiceCompletedSuccessfully => "done",
        };
        runs.after.push(format!("{name} ({state})"));
    }
    for mount in &service.mounts {
        let at = format!("{}{}", mount.target, if mount.read_only { ":ro" } else { "" });
        match &mount.source {
            MountSource::Volume(key) => runs.volumes.push(format!("{key}:{at}")),
            MountSource::Anonymous => runs.volumes.push(at),
            MountSource::Image(image) => runs.volumes.push(format!("{image}:{at}")),
            MountSource::Bind { path, .. } if path.starts_with('/') => {
                runs.host_paths.push(format!("{path}:{at}"));
            }
            MountSource::Bind { path, .. } => runs.files.push(format!("{path}:{at}")),
            MountSource::Tmpfs { .. } => {}
        }
    }
    runs
}

fn port(port: &Port) -> String {
    let Port { target, published, among, host_ip, protocol } = port;
    let ip = match host_ip.as_deref() {
        Some(ip) if ip.contains(':') => format!("[{ip}]:"),
        Some(ip) => format!("{ip}:"),
        None => String::new(),
    };
    let host = match (published, among) {
        (Some(port), _) => format!("{port}:"),
        (None, Some((first, last))) => format!("{first}-{last}:"),
        (None, None) if ip.is_empty() => String::new(),
        (None, None) => ":".to_owned(),
    };
    format!("{ip}{host}{target}/{protocol}")
}

fn files(mounts: &[FileMount]) -> Vec<String> {
    mounts.iter().map(|mount| format!("{}:{}", mount.source, mount.target)).collect()
}

/// The branch of the tree.
pub(super) fn tree(text: &mut String, services: Option<&[Runs]>) {
    let Some(services) = services else {
        let _ =
            writeln!(text, "├─ services: not known (its texts cannot be read from here, or need answers)");
        return;
    };
    let _ = writeln!(text, "├─ services, by default: {}", services.len());
    for (number, service) in services.iter().enumerate() {
        let is_last = number + 1 == services.len();
        let (branch, below) = if is_last { ("└─", "  ") } else { ("├─", "│ ") };
        let times = if service.containers == 1 {
            String::new()
        } else {
            format!("  {} containers", service.containers)
        };
        let _ = writeln!(
            text,
            "│  {branch} {:<20} {}{times}",
            service.name.as_str(),
            human::printable(&service.image)
        );
        for (word, list) in [
            ("after", &service.after),
            ("ports", &service.ports),
            ("volumes", &service.volumes),
            ("files", &service.files),
            ("host", &service.host_paths),
            ("configs", &service.configs),
            ("secrets", &service.secrets),
        ] {
            for (number, one) in list.iter().enumerate() {
                let word = if number == 0 { word } else { "" };
                let _ = writeln!(text, "│  {below}   {word:<8} {}", human::printable(one));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::compose::{self, Text};
    use std::collections::BTreeMap;

    #[test]
    fn a_service_is_shown_with_what_it_has() {
        let text = "services:\n  app:\n    image: acme/app:1\n    scale: 2\n    depends_on: { db: { condition: service_healthy } }\n    \
                    ports: [\"80\", \"127.0.0.1::81\", \"[::1]:8080-8090:82/udp\"]\n    \
                    volumes: [\"data:/d\", \"/etc/localtime:/etc/localtime:ro\", \"./conf:/conf:ro\"]\n    secrets: [key]\n  \
                    db:\n    image: acme/db:1\n    healthcheck: { test: \"true\" }\nvolumes: { data: }\nsecrets: { key: { file: ./k } }\n";
        let texts = [Text { file: "compose.yaml", text }];
        let project = compose::parse(&texts, &BTreeMap::new(), &|_| Some(Vec::new())).unwrap().project;
        let mut shown = String::new();
        tree(&mut shown, Some(&of(&project)));
        let expected = "├─ services, by default: 2\n\
            │  ├─ app                  acme/app:1  2 containers\n\
            │  │    after    db (healthy)\n\
            │  │    ports    80/tcp\n\
            │  │             127.0.0.1::81/tcp\n\
            │  │             [::1]:8080-8090:82/udp\n\
            │  │    volumes  data:/d\n\
            │  │    files    conf:/conf:ro\n\
            │  │    host     /etc/localtime:/etc/localtime:ro\n\
            │  │    secrets  key:/run/secrets/key\n\
            │  └─ db                   acme/db:1\n";
        assert_eq!(shown, expected);
    }
}
