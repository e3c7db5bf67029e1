use crate::engine::support::{FOREVER, Site, shell};
use bytes::Bytes;
use futures_util::stream;
use installer::engine::EngineKind;
use installer::engine::volumes::VolumeSpec;
use installer::release::seed::{SeedError, Seeded, seed};
use installer::services::switch;
use manifest_schema::compose::model::{Mount, MountSource, Volume};
use manifest_schema::progress::Silent;
use std::io;

fn content(text: &str) -> Vec<io::Result<Bytes>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o640);
    header.set_uid(70);
    header.set_gid(71);
    tar.append_data(&mut header, "sub/file", text.as_bytes()).unwrap();
    let bytes = tar.into_inner().unwrap();
    bytes.chunks(1000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect()
}

/// A large file, then the stick is pulled out.
fn broken() -> Vec<io::Result<Bytes>> {
    let mut header = tar::Header::new_gnu();
    header.set_path("half").unwrap();
    header.set_size(10 << 20);
    header.set_mode(0o644);
    header.set_cksum();
    let mut chunks = vec![Ok(Bytes::copy_from_slice(header.as_bytes()))];
    chunks.extend((0..20).map(|_| Ok(Bytes::from(vec![b'x'; 64 << 10]))));
    chunks.push(Err(io::Error::other("the stick was pulled out")));
    chunks
}

async fn site(name: &str) -> (Site, VolumeSpec) {
    let mut site = Site::new(name).await;
    site.project.volumes.insert("data".to_owned(), Volume::default());
    site.add("db", shell(FOREVER)).mounts = vec![Mount {
        source: MountSource::Volume("data".to_owned()),
        target: "/srv".to_owned(),
        read_only: false,
        propagation: None,
        nocopy: true,
        subpath: None,
        recursive: None,
        selinux: None,
    }];
    let volume = site.target().volume("data").unwrap().clone();
    (site, volume)
}

impl Site {
    async fn fill(&self, chunks: Vec<io::Result<Bytes>>) -> Result<Seeded, SeedError> {
        switch::prepare_networks_volumes(&self.engine, &self.target(), &Silent).await.unwrap();
        let volume = self.target().volume("data").unwrap().clone();
        let open = || stream::iter(chunks);
        seed(&self.engine, self.name.as_str(), &volume, self.image, open).await
    }
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn an_empty_volume_is_filled_and_a_full_one_left_alone() {
    let (mut site, _) = site("ferry-seed").await;
    assert_eq!(site.fill(content("first")).await.unwrap(), Seeded::Filled);
    assert_eq!(site.fill(content("second")).await.unwrap(), Seeded::HasContent);
    site.install().await;
    assert_eq!(
        site.run("db", "cat /srv/sub/file; busybox stat -c '%u %g %a' /srv/sub/file").await,
        "first70 71 640"
    );
    // Another attempt does not lose the data either.
    site.attempt = "second".to_owned();
    assert_eq!(site.fill(content("second")).await.unwrap(), Seeded::HasContent);
    assert_eq!(site.run("db", "cat /srv/sub/file").await, "first");
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn an_interrupted_filling_is_begun_anew() {
    let (site, volume) = site("ferry-seed-broken").await;
    let error = site.fill(broken()).await.unwrap_err();
    println!("{error}");
    assert_eq!(site.fill(content("whole")).await.unwrap(), Seeded::Filled);
    site.install().await;
    assert_eq!(site.run("db", "ls /srv; cat /srv/sub/file").await, "sub\nwhole");
    site.clear().await;

    // Killed while filling: the volume says so, and so does the helper, which anybody may prune.
    for pruned in [false, true] {
        let (engine, name, image, volume) =
            (site.engine.clone(), site.name.to_string(), site.image, volume.clone());
        switch::prepare_networks_volumes(&site.engine, &site.target(), &Silent).await.unwrap();
        let endless = || {
            let mut chunks = broken();
            chunks.pop();
            futures_util::StreamExt::chain(stream::iter(chunks), stream::pending())
        };
        let task = tokio::spawn(async move { seed(&engine, &name, &volume, image, endless).await });
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        task.abort();
        assert!(task.await.is_err());
        if pruned {
            for helper in
                site.engine.containers("com.docker.compose.project", site.name.as_str()).await.unwrap()
            {
                site.engine.remove_container(&helper.id, true).await.unwrap();
            }
        }
        assert_eq!(site.fill(content("whole")).await.unwrap(), Seeded::Filled, "pruned: {pruned}");
        site.install().await;
        assert_eq!(site.run("db", "ls /srv; cat /srv/sub/file").await, "sub\nwhole");
        assert_eq!(site.run("db", "busybox stat -c '%u %g %a' /srv").await, "0 0 755");
        site.clear().await;
    }
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn the_root_of_a_volume_has_the_owner_and_mode_that_the_tar_gives_it() {
    let (site, _) = site("ferry-seed-root").await;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_path("./").unwrap();
    header.set_size(0);
    header.set_mode(0o2750);
    header.set_uid(70);
    header.set_gid(71);
    header.set_cksum();
    tar.append(&header, io::empty()).unwrap();
    let root = tar.into_inner().unwrap();
    let root = Ok(Bytes::copy_from_slice(&root[..512]));
    let chunks = std::iter::once(root).chain(content("first")).collect();
    assert_eq!(site.fill(chunks).await.unwrap(), Seeded::Filled);
    site.install().await;
    // Podman gives the root of a new volume to the user of the first container that starts on it.
    let root = if site.engine.facts().kind == EngineKind::Podman { "0 0 2750" } else { "70 71 2750" };
    assert_eq!(
        site.run("db", "busybox stat -c '%u %g %a' /srv /srv/sub/file; ls -A /srv").await,
        format!("{root}\n70 71 640\nsub")
    );
    site.clear().await;
}
