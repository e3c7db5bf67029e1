//! The services' logs, from one trial to the next.
//!
//! Each service is followed by a call of the installer of its own. So one that a rebuild leaves alone is
//! followed on, and says nothing twice; one whose container is another or was started again is followed from
//! its first lines. What comes while nobody takes it waits: a build has the screen for itself.

use super::installer::{Installer, in_a_group_of_its_own};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Lines that wait; then the installer does.
const WAITING: usize = 1024;

/// All services of a trial, followed.
#[derive(Debug)]
pub(crate) struct Followers {
    children: BTreeMap<String, (String, Child)>,
    sender: SyncSender<Vec<u8>>,
    lines: Receiver<Vec<u8>>,
}

impl Default for Followers {
    fn default() -> Self {
        let (sender, lines) = sync_channel(WAITING);
        Self { children: BTreeMap::new(), sender, lines }
    }
}

impl Followers {
    /// Follows what is installed now.
    ///
    /// # Errors
    /// When the installer cannot be run.
    pub(super) fn refresh(&mut self, installer: &Installer) -> Result<()> {
        let status = installer.command(&["--json", "status"]).output().context("running the installer")?;
        let now = started(&status.stdout);
        let other = |service: &String, since: &String| now.get(service) != Some(since);
        for (_, (_, mut child)) in self.children.extract_if(.., |service, (since, _)| other(service, since)) {
            end(&mut child);
        }
        for (service, since) in now {
            if self.children.contains_key(&service) {
                continue;
            }
            let mut command = installer.command(&["logs", "--follow", &service]);
            in_a_group_of_its_own(&mut command);
            let mut child = command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .context("running the installer")?;
            if let Some(output) = child.stdout.take() {
                let sender = self.sender.clone();
                std::thread::spawn(move || pass_on(output, &sender));
            }
            self.children.insert(service, (since, child));
        }
        Ok(())
    }

    /// Lines that came since the last look.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.lines.try_iter().map(|line| String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.children.values_mut().for_each(|(_, child)| end(child));
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn pass_on(output: impl Read, sender: &SyncSender<Vec<u8>>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        if sender.send(std::mem::take(&mut line)).is_err() {
            return;
        }
    }
}

/// Each service with its containers and since when they run, as the installer's `status` tells it.
fn started(status: &[u8]) -> BTreeMap<String, String> {
    let status: serde_json::Value = serde_json::from_slice(status).unwrap_or_default();
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for container in status.get("services").and_then(|services| services.as_array()).into_iter().flatten() {
        let text = |key: &str| container.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        let since = found.entry(text("service").to_owned()).or_default();
        since.push_str(&format!("{} {};", text("container"), text("since")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_container_and_another_start_are_told_apart() {
        let status = |container: &str, since: &str| {
            let web = serde_json::json!({ "service": "web", "container": container, "since": since });
            let job = serde_json::json!({ "service": "job", "container": "j", "since": "1" });
            started(serde_json::json!({ "services": [web, job] }).to_string().as_bytes())
        };
        let first = status("a", "1");
        assert_eq!(first.keys().collect::<Vec<_>>(), ["job", "web"]);
        assert_eq!(first, status("a", "1"));
        for other in [status("b", "1"), status("a", "2")] {
            assert_eq!(first.get("job"), other.get("job"));
            assert_ne!(first.get("web"), other.get("web"));
        }
        assert!(started(b"nothing is installed").is_empty());
    }
}
