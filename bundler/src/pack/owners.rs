//! The owners of seeds that do not name one: the user of the service that mounts the volume, or the owner of the mount
//! point in its image, as an engine gives an empty volume the owner of what it covers.

use crate::artifacts::seed::SeedPlan;
use crate::cancel::Cancel;
use crate::inputs::Inputs;
use crate::inputs::mentions::Mentions;
use crate::read::owner::Owner;
use crate::sources::{FileFacts, FoundImage};
use anyhow::Result;
use manifest_schema::compose::model::{Mount, MountSource, Service};
use manifest_schema::manifest::{SeedOwner, SeedSpec};
use manifest_schema::{Diagnostic, Diagnostics, ImageRef, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// A service that mounts a seeded volume.
struct Mounting<'a> {
    name: &'a ServiceName,
    read_only: bool,
    /// User and group that it runs as; `None`: unknown.
    user: Option<User>,
    /// Owner of the place in the image where the volume is mounted.
    point: Option<Owner>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct User {
    uid: u64,
    gid: u64,
    /// The group is named, and does not only follow from the user.
    named_group: bool,
}

/// Gives each seed that names none an owner, and each the one that the manifest says, and returns warnings of services
/// that cannot write into a volume that they mount for writing. Without `images` as much as the Compose file says is
/// known.
///
/// # Errors
/// When a name in the manifest is no user or group of an image, or is another one in each; when the work is called off.
pub(crate) fn settle(
    plans: &mut [SeedPlan],
    inputs: &Inputs,
    images: &[FoundImage],
    cancel: &Cancel,
) -> Result<Vec<Diagnostic>> {
    let mentions = Mentions::read(&inputs.manifest_shown, &inputs.manifest_text);
    let uses: Vec<Vec<Use<'_>>> = plans.iter().map(|plan| uses(&plan.spec, inputs, images)).collect();
    let files = look(uses.iter().flatten(), images, cancel);
    cancel.check()?;
    let (mut warnings, mut wrong) = (Vec::new(), Diagnostics::default());
    for (plan, uses) in plans.iter_mut().zip(&uses) {
        let mut mounting: Vec<Mounting<'_>> = uses.iter().map(|one| one.settled(&files)).collect();
        // Whoever writes counts first.
        mounting.sort_by_key(|service| service.read_only);
        let owners: Vec<Owner> = mounting.iter().map(Mounting::owner).collect();
        let foreign = owners.iter().find(|owner| owner.uid != 0).or(owners.first());
        let written = match plan.spec.owner.as_ref().map(|owner| written(owner, uses, &files)) {
            Some(Err(_)) if images.is_empty() => {
                // Names mean nothing without them.
                continue;
            }
            Some(Err(why)) => {
                let (text, line) =
                    plan.spec.owner.as_ref().map_or(("", 0), |owner| (&owner.text, owner.line));
                let hint =
                    "write numbers, as in `owner: \"999:999\"`; `docker run --rm IMAGE id USER` says them";
                wrong.push(mentions.mistake("volumes", text, line, why).hint(hint));
                continue;
            }
            Some(Ok(written)) => Some(written),
            None => None,
        };
        plan.give_owner(foreign.copied().unwrap_or_default(), written);
        let root = plan.root();
        for service in mounting.iter().filter(|service| !service.read_only) {
            // Without its image, the group of a user is unknown.
            let in_group = |user: User| {
                images.is_empty() && !user.named_group && can_write(root, User { gid: root.gid, ..user })
            };
            let kept_out = |user: &User| !can_write(root, *user) && !in_group(*user);
            let Some(user) = service.user.filter(kept_out) else { continue };
            let fact = format!(
                "service `{}` runs as {}:{} and cannot write into the volume `{}`, whose root belongs to {}:{} with mode {:o}",
                service.name, user.uid, user.gid, plan.spec.volume, root.uid, root.gid, root.mode
            );
            let hint = format!(
                "write `owner: \"{}:{}\"` beside its seed (with `ferry: 2` in the first line), pack a tar whose `./` lets the service write, or mount it with `:ro`",
                user.uid, user.gid
            );
            let warning = mentions.mistake("volumes", &plan.spec.from, plan.spec.line, fact).hint(hint);
            warnings.push(warning);
        }
    }
    Ok(wrong.or_ok(warnings)?)
}

/// User and group that the manifest says; a name is looked up in the image of each service that mounts the volume.
///
/// # Errors
/// Why they cannot be known.
fn written(owner: &SeedOwner, uses: &[Use<'_>], files: &Files) -> Result<(u64, u64), String> {
    if let Some((uid, gid)) = owner.numbers() {
        return Ok((uid.into(), gid.into()));
    }
    let found = uses.iter().filter_map(|one| {
        let User { uid, gid, .. } = resolve(&owner.text, files.get(&one.image?)?)?;
        Some((one.service, (uid, gid)))
    });
    let found: Vec<(&ServiceName, (u64, u64))> = found.collect();
    let Some((first, numbers)) = found.first() else {
        let text = &owner.text;
        return Err(format!(
            "`{text}` is no user and group in the image of a service that mounts the volume"
        ));
    };
    if let Some((other, (uid, gid))) = found.iter().find(|(_, other)| other != numbers) {
        let text = &owner.text;
        return Err(format!(
            "`{text}` is {}:{} in the image of `{first}`, and {uid}:{gid} in that of `{other}`",
            numbers.0, numbers.1
        ));
    }
    Ok(*numbers)
}

/// A mount of a seeded volume, before its image was looked into.
struct Use<'a> {
    service: &'a ServiceName,
    mount: &'a Mount,
    /// The number of its image, where that is known.
    image: Option<usize>,
    /// `user`, of the service or else of the image.
    user: Option<String>,
    /// The manifest names the owner of the volume, so that the image's lists are asked.
    asks: bool,
}

/// Files of images, by the image's number and their path.
type Files = BTreeMap<usize, BTreeMap<String, FileFacts>>;

/// Whole mounts of `volume`, with the defaults.
fn uses<'a>(seed: &SeedSpec, inputs: &'a Inputs, images: &[FoundImage]) -> Vec<Use<'a>> {
    let volume = &seed.volume;
    let asks = seed.owner.as_ref().is_some_and(|owner| owner.numbers().is_none());
    let Some(rendering) = inputs.renderings.first() else { return Vec::new() };
    let services = rendering.made.parsed.project.services.iter();
    let mounts =
        services.flat_map(|(name, service)| service.mounts.iter().map(move |mount| (name, service, mount)));
    let whole = mounts.filter(|(_, _, mount)| {
        mount.subpath.is_none() && matches!(&mount.source, MountSource::Volume(key) if key == volume)
    });
    whole.map(|(name, service, mount)| Use { asks, ..Use::new(name, service, mount, images) }).collect()
}

/// Looks into each image once, for all that is used of it. A layer that cannot be read is told of when it is packed.
fn look<'u>(uses: impl Iterator<Item = &'u Use<'u>>, images: &[FoundImage], cancel: &Cancel) -> Files {
    let mut wanted: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for one in uses {
        if let Some(image) = one.image {
            wanted.entry(image).or_default().extend(one.paths());
        }
    }
    let found = |(number, paths): (usize, BTreeSet<String>)| {
        Some((number, images.get(number)?.files(&paths, cancel).unwrap_or_default()))
    };
    wanted.into_iter().filter_map(found).collect()
}

impl<'a> Use<'a> {
    fn new(name: &'a ServiceName, service: &Service, mount: &'a Mount, images: &[FoundImage]) -> Self {
        let reference = service.image.parse::<ImageRef>().ok();
        let of_service = |image: &FoundImage| {
            Some(&image.reference) == reference.as_ref()
                && service.platform.as_ref().is_none_or(|platform| &image.platform == platform)
        };
        let image = images.iter().position(of_service);
        let user = service.user.clone().or_else(|| user_of(images.get(image?)?));
        Self { service: name, mount, image, user, asks: false }
    }

    /// The place in the image that the volume covers.
    fn point(&self) -> &str {
        self.mount.target.trim_matches('/')
    }

    fn paths(&self) -> impl Iterator<Item = String> {
        let is_named = self.asks || self.user.as_deref().is_some_and(|user| !user.is_empty());
        let lists: &[&str] = if is_named { &["etc/passwd", "etc/group"] } else { &[] };
        std::iter::once(self.point()).chain(lists.iter().copied()).map(str::to_owned)
    }

    fn settled(&self, files: &Files) -> Mounting<'a> {
        let nothing = BTreeMap::new();
        let files = self.image.and_then(|image| files.get(&image)).unwrap_or(&nothing);
        let root = Some(User { uid: 0, gid: 0, named_group: false });
        let user = match self.user.as_deref() {
            None if self.image.is_none() => None,
            None | Some("") => root,
            Some(user) => resolve(user, files),
        };
        let point = files.get(self.point()).filter(|point| point.is_folder).map(|point| point.owner);
        Mounting { name: self.service, read_only: self.mount.read_only, user, point }
    }
}

impl Mounting<'_> {
    /// The owner that suits it.
    fn owner(&self) -> Owner {
        match self.user {
            Some(user) if user.uid != 0 => {
                let own = self.point.filter(|point| point.uid == user.uid);
                Owner {
                    uid: user.uid,
                    gid: own.filter(|_| !user.named_group).map_or(user.gid, |point| point.gid),
                    mode: own.unwrap_or_default().mode,
                }
            }
            _ => self.point.unwrap_or_default(),
        }
    }
}

/// `User` of an image's configuration.
fn user_of(image: &FoundImage) -> Option<String> {
    let config: serde_json::Value = serde_json::from_slice(&image.config).ok()?;
    config.get("config")?.get("User")?.as_str().map(str::to_owned)
}

/// `USER[:GROUP]`, names or numbers, with the image's own lists (passwd(5), group(5)).
fn resolve(text: &str, files: &BTreeMap<String, FileFacts>) -> Option<User> {
    let lines = |path: &str| {
        let content = files.get(path).map(|file| String::from_utf8_lossy(&file.content).into_owned());
        let content = content.unwrap_or_default();
        let fields = content.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
        fields.collect::<Vec<_>>()
    };
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let number = |fields: &Vec<String>, at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let users = lines("etc/passwd");
    let entry = match user.parse::<u64>() {
        Ok(uid) => users.iter().find(|fields| number(fields, 2) == Some(uid)),
        Err(_) => users.iter().find(|fields| fields.first().is_some_and(|name| name == user)),
    };
    let uid = user.parse().ok().or_else(|| number(entry?, 2))?;
    let gid = match group.filter(|group| !group.is_empty()) {
        None => entry.and_then(|entry| number(entry, 3)).unwrap_or(0),
        Some(group) => group.parse().ok().or_else(|| {
            let groups = lines("etc/group");
            number(groups.iter().find(|fields| fields.first().is_some_and(|name| name == group))?, 2)
        })?,
    };
    Some(User { uid, gid, named_group: group.is_some() })
}

fn can_write(root: Owner, user: User) -> bool {
    // To make a file in a folder, one has to enter it too.
    let both = |shift: u32| root.mode >> shift & 0o3 == 0o3;
    if user.uid == 0 {
        true
    } else if user.uid == root.uid {
        both(6)
    } else if user.gid == root.gid {
        both(3)
    } else {
        both(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> FileFacts {
        let content = content.as_bytes().to_vec();
        FileFacts { owner: Owner { uid: 0, gid: 0, mode: 0o644 }, is_folder: false, content }
    }

    #[test]
    fn users_are_resolved_as_the_engine_does() {
        let files = BTreeMap::from([
            ("etc/passwd".to_owned(), file("root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n")),
            ("etc/group".to_owned(), file("root:x:0:\nstaff:x:50:app\n")),
        ]);
        let user = |text: &str| resolve(text, &files).map(|user| (user.uid, user.gid, user.named_group));
        assert_eq!(user("app"), Some((1000, 1001, false)));
        assert_eq!(user("1000"), Some((1000, 1001, false)));
        assert_eq!(user("472"), Some((472, 0, false)));
        assert_eq!(user("app:staff"), Some((1000, 50, true)));
        assert_eq!(user("7:8"), Some((7, 8, true)));
        assert_eq!(user("nobody"), None);
        assert_eq!(user("app:nogroup"), None);
    }

    #[test]
    fn the_user_counts_and_else_the_mount_point() {
        let name: ServiceName = "db".parse().unwrap();
        let point = |uid, mode| Some(Owner { uid, gid: uid, mode });
        let user = |uid, gid| Some(User { uid, gid, named_group: false });
        let owner = |user, point| {
            let Owner { uid, gid, mode } = Mounting { name: &name, read_only: false, user, point }.owner();
            (uid, gid, mode)
        };
        // Grafana: a user, and a mount point of its own.
        assert_eq!(owner(user(472, 0), point(472, 0o777)), (472, 472, 0o777));
        // PostgreSQL: starts as root, and gives up that for the owner of its folder.
        assert_eq!(owner(user(0, 0), point(999, 0o1777)), (999, 999, 0o1777));
        // Another user than the image was made for.
        assert_eq!(owner(user(1000, 0), point(472, 0o700)), (1000, 0, 0o755));
        assert_eq!(owner(user(1000, 5), None), (1000, 5, 0o755));
        assert_eq!(owner(None, None), (0, 0, 0o755));
    }

    #[test]
    fn writing_needs_the_bits_of_the_class_that_one_is_in() {
        let owner = |mode| Owner { uid: 1, gid: 2, mode };
        let user = |uid, gid| User { uid, gid, named_group: false };
        assert!(can_write(owner(0o755), user(1, 9)) && can_write(owner(0), user(0, 0)));
        assert!(can_write(owner(0o770), user(9, 2)) && can_write(owner(0o777), user(9, 9)));
        assert!(!can_write(owner(0o077), user(1, 2)) && !can_write(owner(0o755), user(9, 2)));
        assert!(!can_write(owner(0o776), user(9, 9)));
    }
}
