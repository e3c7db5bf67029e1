//! The plan of an install. Pure data: `--dry-run` prints it, the install follows it, tests compare it.

use crate::host::state::State;
use crate::images::plan::ImportPlan;
use crate::release::access::Access;
use crate::release::changes::FileChange;
use crate::services::Replica;
use crate::services::ailment::Ailment;
use crate::services::switch::Change;
use ferry_terminal::human;
use manifest_schema::ReleaseId;
use manifest_schema::release::Release;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Everything that will be done, and what is there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    pub name: String,
    pub version: String,
    pub release: ReleaseId,
    /// The release that runs now.
    pub replaces: Option<ReleaseId>,
    /// Images the engine has already.
    pub images_present: Vec<String>,
    /// Images to be sent.
    pub images_missing: Vec<String>,
    /// Bytes to be sent to the engine, at most.
    pub send_bytes: u64,
    /// Bytes the new layers take in the engine.
    pub unpacked_bytes: u64,
    /// The release folder has to be written.
    pub lay_out: bool,
    /// Volumes to be filled if they are empty.
    pub seeds: Vec<String>,
    /// The change of each replica.
    pub services: BTreeMap<Replica, Change>,
    /// Ailments of replicas whose definition stays.
    pub ailments: BTreeMap<Replica, Ailment>,
    /// Services that are no longer in the project.
    pub stopped: Vec<Replica>,
    /// The install resumes an interrupted one.
    pub resumes: bool,
    /// Access to this host beyond containers of its own.
    pub access: Vec<Access>,
    /// Files that differ from those of the running release.
    pub files: Vec<FileChange>,
}

impl Plan {
    /// A plan that names the release and its images, and nothing else to do.
    #[must_use]
    pub(crate) fn of_images(release: &Release, id: &ReleaseId, state: &State, images: &ImportPlan) -> Self {
        let current = state.current.as_ref().map(|current| current.release.clone());
        Self {
            name: release.name.to_string(),
            version: release.version.clone(),
            release: id.clone(),
            replaces: current.filter(|current| current != id),
            images_present: images.present.iter().map(|(image, _)| image.reference.to_string()).collect(),
            images_missing: images.missing.iter().map(|image| image.reference.to_string()).collect(),
            send_bytes: images.bytes,
            unpacked_bytes: images.unpacked_bytes,
            lay_out: false,
            seeds: Vec::new(),
            services: BTreeMap::new(),
            ailments: BTreeMap::new(),
            stopped: Vec::new(),
            resumes: state.attempt.is_some(),
            access: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The actual state is the desired one already.
    #[must_use]
    pub(crate) fn is_empty(&self, state: &State) -> bool {
        !self.reads_payload()
            && self.seeds.is_empty()
            && self.stopped.is_empty()
            && !self.resumes
            && self.services.values().all(|change| *change == Change::Unchanged)
            && state.current.as_ref().is_some_and(|current| current.release == self.release)
    }

    /// The ailments and their cures, a line a replica.
    pub(crate) fn cures(&self) -> impl Iterator<Item = String> {
        self.ailments.iter().filter_map(|(replica, ailment)| {
            let cure = match self.services.get(replica)? {
                Change::Unchanged => return None,
                Change::Unverified => "it is waited for",
                Change::Start => "it is started",
                Change::Restart => "it is restarted",
                Change::Renew | Change::Create | Change::Replace => "its container is made anew",
            };
            Some(format!("service {replica} {ailment}: {cure}"))
        })
    }

    /// Layers, artifacts or seeds have to be read from the bundle.
    #[must_use]
    pub(crate) fn reads_payload(&self) -> bool {
        !self.images_missing.is_empty() || self.lay_out || !self.seeds.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, human::printable(&self.version))?;
        match &self.replaces {
            Some(old) => writeln!(f, " (replaces {old})")?,
            None => writeln!(f)?,
        }
        let sent = if self.images_missing.is_empty() {
            "none to send".to_owned()
        } else {
            format!(
                "{} to send ({} at most): {}",
                self.images_missing.len(),
                human::bytes(self.send_bytes),
                self.images_missing.join(", ")
            )
        };
        writeln!(f, "  images    {} there, {sent}", self.images_present.len())?;
        let files = if self.lay_out { "to be written" } else { "there" };
        writeln!(f, "  files     {files}")?;
        if !self.seeds.is_empty() {
            writeln!(f, "  volumes   filled if empty: {}", human::printable(&self.seeds.join(", ")))?;
        }
        for access in self.access.iter().filter(|access| access.new) {
            writeln!(f, "  asks for  {access}")?;
        }
        for file in &self.files {
            writeln!(f, "  file      {}: changed", human::printable(&file.path))?;
        }
        for (service, change) in &self.services {
            let word = match change {
                Change::Unchanged => "unchanged",
                Change::Unverified => "wait for its health",
                Change::Start => "start",
                Change::Restart => "restart",
                Change::Replace => "replace",
                Change::Renew => "make anew",
                Change::Create => "create",
            };
            let why =
                self.ailments.get(service).map(|ailment| format!(" (it {ailment})")).unwrap_or_default();
            writeln!(f, "  service   {service}: {word}{why}")?;
        }
        for service in &self.stopped {
            writeln!(f, "  service   {service}: stop and remove")?;
        }
        Ok(())
    }
}
