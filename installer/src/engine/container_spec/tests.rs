use super::*;
use bollard::models::RestartPolicyNameEnum;

fn bind(path: &str, create: bool, read_only: bool) -> MountSpec {
    MountSpec {
        source: MountFrom::Bind {
            path: path.to_owned(),
            create,
            propagation: None,
            recursive: None,
            selinux: None,
        },
        target: "/t".to_owned(),
        read_only,
    }
}

#[test]
fn only_binds_that_may_make_a_folder_take_the_old_form() {
    let spec = ContainerSpec {
        mounts: vec![bind("/a", true, true), bind("/b", false, false), bind("/c:d", true, false)],
        ..Default::default()
    };
    let (binds, mounts) = spec.split_mounts();
    assert_eq!(binds, ["/a:/t:ro"]);
    assert_eq!(mounts.len(), 2);
    assert_eq!(mounts[0].source.as_deref(), Some("/b"));
    assert!(mounts[0].bind_options.is_none());
    assert_eq!(mounts[1].bind_options.as_ref().unwrap().create_mountpoint, Some(true));
}

#[test]
fn data_of_unnamed_volumes_survives_a_replacement() {
    let mut spec = ContainerSpec {
        mounts: vec![MountSpec {
            source: MountFrom::Anonymous,
            target: "/anon".to_owned(),
            read_only: false,
        }],
        ..Default::default()
    };
    let old =
        [("/anon", "v1"), ("/declared", "v2"), ("/gone", "v3")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    spec.inherit_volumes(&old, &["/declared".to_owned()]);
    let names: Vec<_> = spec
        .mounts
        .iter()
        .map(|mount| match &mount.source {
            MountFrom::Volume { name, .. } => (mount.target.as_str(), name.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, [("/anon", "v1"), ("/declared", "v2")]);
}

#[test]
fn a_cleared_entrypoint_is_told_from_the_images() {
    let none = ContainerSpec { entrypoint: Some(vec![]), ..Default::default() };
    assert_eq!(none.request().entrypoint, Some(vec![String::new()]));
    assert_eq!(ContainerSpec::default().request().entrypoint, None);
    let policy = restart_policy("on-failure:3");
    assert_eq!(policy.maximum_retry_count, Some(3));
    assert_eq!(restart_policy("nonsense").name, Some(RestartPolicyNameEnum::NO));
}
