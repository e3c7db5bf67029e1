//! Named volumes of a project.

use super::{BULK_TIMEOUT, Engine, EngineKind, Result, checked, failure};
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use std::collections::{BTreeMap, HashMap};
use std::io;

/// A volume to be created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Name in the engine, `shop_data`.
    pub name: String,
    /// Key in the Compose file.
    pub key: String,
    /// It must exist already, and is never created or removed.
    pub external: bool,
    /// Driver; `None`: local.
    pub driver: Option<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its root keeps the owner and mode that it is filled with. Podman would give a new one to the first container.
    pub keeps_root: bool,
}

/// A volume that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFacts {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Where it lies on the engine's host; empty for some drivers.
    pub mountpoint: String,
}

/// Owner and mode of a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FolderOwner {
    /// User, as containers see it.
    pub uid: u64,
    /// Group, as containers see it.
    pub gid: u64,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
}

/// A look into a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FolderFacts {
    /// It holds nothing.
    pub empty: bool,
    /// Its own owner and mode, as the engine tells them: Podman 4.3 calls every owner 0.
    pub owner: FolderOwner,
}

impl From<bollard::models::Volume> for VolumeFacts {
    fn from(volume: bollard::models::Volume) -> Self {
        Self { name: volume.name, labels: volume.labels.into_iter().collect(), mountpoint: volume.mountpoint }
    }
}

impl Engine {
    /// The volume named `name`, or `None`.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>> {
        match self.docker.inspect_volume(checked("volume", name)?).await {
            Ok(volume) => Ok(Some(volume.into())),
            Err(error) => match failure(format!("inspect volume {name}"), error) {
                error if error.is_not_found() => Ok(None),
                error => Err(error),
            },
        }
    }

    /// The volumes that carry `label=value`.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn volumes(&self, label: &str, value: &str) -> Result<Vec<VolumeFacts>> {
        let has = |volume: &VolumeFacts| volume.labels.get(label).is_some_and(|has| has == value);
        self.list_volumes(&format!("{label}={value}"), has).await
    }

    /// All volumes that carry a label `label`, whatever it says.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn volumes_with(&self, label: &str) -> Result<Vec<VolumeFacts>> {
        self.list_volumes(label, |volume| volume.labels.contains_key(label)).await
    }

    async fn list_volumes(
        &self,
        filter: &str,
        wanted: impl Fn(&VolumeFacts) -> bool,
    ) -> Result<Vec<VolumeFacts>> {
        let filters = HashMap::from([("label", vec![filter.to_owned()])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let list =
            self.docker.list_volumes(Some(options)).await.map_err(|e| failure("list its volumes", e))?;
        let found = list.volumes.unwrap_or_default().into_iter().map(VolumeFacts::from);
        let mut volumes: Vec<VolumeFacts> = found.filter(wanted).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Makes a volume. One of the same name is left as it is: callers look first.
    ///
    /// # Errors
    /// When the engine fails or refuses.
    pub async fn create_volume(&self, spec: &VolumeSpec) -> Result<()> {
        let mut options: HashMap<String, String> = spec.options.clone().into_iter().collect();
        let is_plain = options.is_empty() && spec.driver.as_deref().is_none_or(|driver| driver == "local");
        if spec.keeps_root && is_plain && self.facts.kind == EngineKind::Podman {
            // An owner that is named at the beginning is never changed by it.
            options.insert("o".to_owned(), "uid=0,gid=0".to_owned());
        }
        let request = VolumeCreateRequest {
            name: Some(checked("volume", &spec.name)?.to_owned()),
            driver: Some(spec.driver.clone().unwrap_or_else(|| "local".to_owned())),
            driver_opts: Some(options),
            labels: Some(spec.labels.clone().into_iter().collect()),
            cluster_volume_spec: None,
        };
        self.docker
            .create_volume(request)
            .await
            .map(drop)
            .map_err(|e| failure(format!("create volume {}", spec.name), e))
    }

    /// Removes a volume with its data; `false` where there was none.
    ///
    /// # Errors
    /// When the engine fails, or refuses because a container still uses it.
    pub async fn remove_volume(&self, name: &str) -> Result<bool> {
        let options = RemoveVolumeOptionsBuilder::new().force(false).build();
        match self.docker.remove_volume(checked("volume", name)?, Some(options)).await {
            Ok(()) => Ok(true),
            Err(error) => match failure(format!("remove volume {name}"), error) {
                error if error.is_not_found() => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Unpacks a tar into `path` of a container, running or not; owners and modes are kept.
    ///
    /// # Errors
    /// When `tar` fails, is not a tar, or the engine fails, for example for want of space.
    pub async fn put_archive(
        &self,
        container: &str,
        path: &str,
        tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        let options = UploadToContainerOptionsBuilder::new().path(path).build();
        self.patient(BULK_TIMEOUT)
            .upload_to_container(
                checked("container", container)?,
                Some(options),
                bollard::body_try_stream(tar),
            )
            .await
            .map_err(|e| failure(format!("unpack files into {path}"), e))
    }

    /// Looks into the folder `path` of a container, running or not. Reads no more than that takes.
    ///
    /// # Errors
    /// When there is no such path, or the engine fails.
    pub async fn look_into(&self, container: &str, path: &str) -> Result<FolderFacts> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let action = || format!("look into {path}");
        let mut chunks =
            self.docker.download_from_container(checked("container", container)?, Some(options)).boxed();
        let mut entries = EntryCount::default();
        while let Some(chunk) = chunks.next().await {
            if entries.read(&chunk.map_err(|e| failure(action(), e))?) {
                return Ok(FolderFacts { empty: false, owner: entries.first });
            }
        }
        Ok(FolderFacts { empty: true, owner: entries.first })
    }

    /// Gives the folder `/NAME` of a container, running or not, where a volume is mounted, an owner and a mode.
    ///
    /// # Errors
    /// When the engine fails, or the volume's file system has no owners and modes.
    pub async fn set_owner_of_mount(&self, container: &str, name: &str, owner: FolderOwner) -> Result<()> {
        // Docker passes over the entry of the folder that it unpacks into. Podman leaves volumes out of the root.
        let (path, entry) = match self.facts.kind {
            EngineKind::Docker => ("/".to_owned(), format!("{name}/")),
            EngineKind::Podman => (format!("/{name}"), "./".to_owned()),
        };
        let tar = futures_util::stream::iter([folder_tar(&entry, owner).map(Bytes::from)]);
        self.put_archive(container, &path, tar).await
    }
}

/// A tar of one folder.
fn folder_tar(name: &str, owner: FolderOwner) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_path(name)?;
    header.set_uid(owner.uid);
    header.set_gid(owner.gid);
    header.set_mode(owner.mode);
    header.set_size(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, io::empty())?;
    tar.into_inner()
}

/// Looks for a second entry in a tar whose first is the folder itself.
///
/// A folder's entry has no content, so the block after its header (and after any extension headers
/// and their content, which come before it) is either the next header or zero.
#[derive(Default)]
struct EntryCount {
    block: Vec<u8>,
    skip: u64,
    entries: u32,
    /// Owner and mode of the first entry.
    first: FolderOwner,
}

impl EntryCount {
    /// Takes more of the tar; `true` once a second entry has begun.
    fn read(&mut self, mut bytes: &[u8]) -> bool {
        const BLOCK: usize = 512;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= step as u64;
                bytes = bytes.get(step..).unwrap_or_default();
                continue;
            }
            let wanted = (BLOCK - self.block.len()).min(bytes.len());
            let (taken, rest) = bytes.split_at(wanted);
            self.block.extend_from_slice(taken);
            bytes = rest;
            if self.block.len() < BLOCK {
                return false;
            }
            let block = std::mem::take(&mut self.block);
            if block.iter().all(|byte| *byte == 0) {
                continue;
            }
            let header = tar::Header::from_byte_slice(&block);
            let kind = header.entry_type();
            let extension = kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions()
                || kind.is_gnu_longname()
                || kind.is_gnu_longlink();
            // A volume that is a file system of its own has this from the start.
            let born_with = header.path_bytes().ends_with(b"/lost+found/");
            if !extension && !born_with {
                self.entries += 1;
                if self.entries == 1 {
                    let id = |id: io::Result<u64>| id.unwrap_or_default();
                    let mode = header.mode().unwrap_or_default() & 0o7777;
                    self.first = FolderOwner { uid: id(header.uid()), gid: id(header.gid()), mode };
                }
            }
            let size = header.entry_size().unwrap_or(0);
            self.skip = size.checked_next_multiple_of(BLOCK as u64).unwrap_or(0);
            if self.entries > 1 {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(names: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            let folder = name.ends_with('/');
            header.set_entry_type(if folder { tar::EntryType::Directory } else { tar::EntryType::Regular });
            header.set_size(if folder { 0 } else { 3 });
            header.set_mode(0o755);
            let content: &[u8] = if folder { b"" } else { b"abc" };
            builder.append_data(&mut header, name, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn has_more(tar: &[u8], step: usize) -> bool {
        let mut count = EntryCount::default();
        tar.chunks(step).any(|chunk| count.read(chunk))
    }

    #[test]
    fn emptiness_is_seen_whatever_the_chunks() {
        let long = format!("{}/", "d".repeat(150));
        for step in [1, 7, 511, 512, 513, 100_000] {
            assert!(!has_more(&tar_of(&["seed/"]), step), "{step}");
            assert!(!has_more(&tar_of(&[&long]), step), "{step}");
            assert!(has_more(&tar_of(&["seed/", "seed/x"]), step), "{step}");
            assert!(has_more(&tar_of(&[&long, "x/"]), step), "{step}");
            assert!(!has_more(&tar_of(&["seed/", "seed/lost+found/"]), step), "{step}");
            assert!(!has_more(&[], step), "{step}");
        }
    }
}
