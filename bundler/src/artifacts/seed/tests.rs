use crate::artifacts::tests::{entry, owners, seed_tar, write, written_plan};
use crate::read::owner::Owner;

#[test]
fn the_manifest_counts_before_what_a_seed_says() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, &[("seed/sub/row", "x")]);
    let mine = Owner { uid: 1000, gid: 1001, mode: 0o2750 };
    // What the manifest says counts first: its owner for all, its mode for the root.
    let mut plan = written_plan(&root.join("seed"), Some(0o700)).unwrap();
    plan.give_owner(mine, Some((999, 998)));
    assert_eq!(owners(&seed_tar(&plan)), [". 999:998 700", "sub/ 999:998 755", "sub/row 999:998 644"]);
    plan.give_owner(mine, None);
    assert_eq!(owners(&seed_tar(&plan)), [". 1000:1001 700", "sub/ 1000:1001 755", "sub/row 1000:1001 644"]);
    // Also where it is what a new volume has: Podman would give that to somebody else.
    let mut plan = written_plan(&root.join("seed"), None).unwrap();
    plan.give_owner(Owner::default(), Some((0, 0)));
    assert_eq!(owners(&seed_tar(&plan)), [". 0:0 755", "sub/ 0:0 755", "sub/row 0:0 644"]);

    let (dot, row) = (entry(".", tar::EntryType::Directory), entry("row", tar::EntryType::Regular));
    std::fs::write(root.join("bare.tar"), [&row[..], &[0; 1024]].concat()).unwrap();
    // A tar's members keep their owners. Its own root is overruled by a last one, whatever ends the tar.
    let members = [&row[..], &dot].concat();
    let ends: [&[u8]; 5] =
        [&[], &[0; 512], &[0; 1024], &[0; 10240], &[&[0; 1024][..], b"what stands behind it"].concat()];
    for end in ends {
        std::fs::write(root.join("named.tar"), [&members[..], end].concat()).unwrap();
        let mut plan = written_plan(&root.join("named.tar"), Some(0o770)).unwrap();
        plan.give_owner(mine, Some((999, 998)));
        let tar = seed_tar(&plan);
        assert_eq!(owners(&tar), ["row 70:71 700", ". 70:71 700", ". 999:998 770"], "{} bytes", end.len());
        assert_eq!(tar.len(), members.len() + 512 + 1024);
        let root_only = Owner { uid: 999, gid: 998, mode: 0o770 };
        assert_eq!(plan.root(), root_only);
        // The mode alone leaves the tar's owner.
        plan.give_owner(mine, None);
        assert_eq!(owners(&seed_tar(&plan))[2], ". 70:71 770");
    }
    let mut packed = written_plan(&root.join("bare.tar"), None).unwrap();
    packed.give_owner(mine, Some((0, 0)));
    assert_eq!(owners(&seed_tar(&packed)), [". 0:0 2750", "row 70:71 700"]);
}
