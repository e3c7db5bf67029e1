//! Access that no release gets: to Ferry's own folder, and to the volumes of other products.

use super::Finding;
use crate::engine::volumes::VolumeFacts;
use ferry_terminal::human;
use manifest_schema::compose::model::{Permission, PermissionKind};
use std::path::{Path, PathBuf};

/// Mounts of Ferry's own folder at `root`, which holds keys, records and files of every product. A folder above it is
/// listed among the access that the release asks for, and no more.
#[must_use]
pub(crate) fn check_own_folder(asked: &[Permission], root: &Path) -> Vec<Finding> {
    let root = real(root);
    host_paths(asked)
        .filter(|(_, path)| path.starts_with(&root) || real(path).starts_with(&root))
        .map(|(asked, path)| {
            let (who, path) = (services(asked), path.display().to_string());
            Finding::new(
                format!("{who} mounts {}, which lies in Ferry's own folder", human::printable(&path)),
                "use a relative path (`./data`) for data of the release, or a folder elsewhere",
            )
        })
        .collect()
}

/// Uses of `volume`, which belongs to the product `owner`: by its name, or by its path.
#[must_use]
pub(crate) fn check_foreign_volume(asked: &[Permission], volume: &VolumeFacts, owner: &str) -> Vec<Finding> {
    let by_name = asked
        .iter()
        .filter(|one| one.kind == PermissionKind::ForeignVolume && one.value == volume.name)
        .map(services);
    let (written, place) = (Path::new(&volume.mountpoint), real(Path::new(&volume.mountpoint)));
    let by_path = host_paths(asked)
        .filter(|(_, path)| {
            written.is_absolute() && (path.starts_with(written) || real(path).starts_with(&place))
        })
        .map(|(asked, _)| services(asked));
    let fix = "give the release a volume of its own; products exchange data over a network, or in a folder that is no \
               product's own";
    by_name
        .chain(by_path)
        .map(|who| {
            let (name, owner) = (human::printable(&volume.name), human::printable(owner));
            Finding::new(format!("{who} mounts the volume {name}, which belongs to the product {owner}"), fix)
        })
        .collect()
}

fn host_paths(asked: &[Permission]) -> impl Iterator<Item = (&Permission, &Path)> {
    asked.iter().filter_map(|one| Some((one, one.host_path()?)))
}

/// `path` without links in the part of it that exists.
fn real(path: &Path) -> PathBuf {
    let mut existing = path.ancestors().filter_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, real)) = existing.next() else { return path.to_owned() };
    match path.strip_prefix(above) {
        Ok(rest) if rest.as_os_str().is_empty() => real,
        Ok(rest) => real.join(rest),
        Err(_) => path.to_owned(),
    }
}

fn services(asked: &Permission) -> String {
    match asked.services.as_slice() {
        [] => "the release".to_owned(),
        [one] => format!("service {one}"),
        several => {
            let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            format!("services {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn mounts(path: &str) -> Permission {
        Permission {
            kind: PermissionKind::HostPath,
            value: format!("{path}:rw"),
            services: vec!["a".parse().unwrap()],
        }
    }

    #[test]
    fn ferrys_folder_is_known_by_every_path_that_leads_into_it() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("ferry");
        std::fs::create_dir_all(root.join("trust")).unwrap();
        std::os::unix::fs::symlink(&root, top.path().join("link")).unwrap();
        let shown = |path: &str| top.path().join(path).display().to_string();
        for inside in ["ferry", "ferry/trust", "ferry/products/x", "link", "link/trust/allowed_signers"] {
            assert_eq!(check_own_folder(&[mounts(&shown(inside))], &root).len(), 1, "{inside}");
        }
        for outside in ["", "ferry2", "other/ferry"] {
            assert_eq!(check_own_folder(&[mounts(&shown(outside))], &root), [], "{outside}");
        }
    }

    #[test]
    fn a_volume_of_another_product_is_known_by_name_and_by_path() {
        let volume = VolumeFacts {
            name: "other_data".to_owned(),
            labels: BTreeMap::new(),
            mountpoint: "/var/lib/docker/volumes/other_data/_data".to_owned(),
        };
        let by_name = |kind| Permission { kind, value: "other_data".to_owned(), services: Vec::new() };
        let found = check_foreign_volume(&[by_name(PermissionKind::ForeignVolume)], &volume, "other");
        assert_eq!(
            found[0].fact,
            "the release mounts the volume other_data, which belongs to the product other"
        );
        assert_eq!(check_foreign_volume(&[by_name(PermissionKind::ForeignNetwork)], &volume, "other"), []);
        let inside = mounts("/var/lib/docker/volumes/other_data/_data/pg");
        assert_eq!(check_foreign_volume(&[inside], &volume, "other").len(), 1);
        let above = mounts("/var/lib/docker");
        assert_eq!(check_foreign_volume(&[above], &volume, "other"), []);
    }
}
