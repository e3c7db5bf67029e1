//! Engine and registry as small servers that also misbehave. The real ones are met in the
//! end-to-end suite.

use super::build::*;
use super::formats::{nowhere, platforms, read, wanted};
use crate::cancel::Cancel;
use crate::sources::{FoundImage, ResolveOptions, Wanted, resolve};
use manifest_schema::manifest::SourceSpec;
use manifest_schema::progress::Silent;
use manifest_schema::{Diagnostics, Digest};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// An answer: status, content type, body, and how many bytes of it are sent before hanging up.
#[derive(Clone)]
struct Answer {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    cut: Option<usize>,
}

fn ok(content_type: &'static str, body: &[u8]) -> Answer {
    Answer { status: 200, content_type, body: body.to_vec(), cut: None }
}

/// A server: its answers by path, and the requests that came, with their ranges.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn answer(&self, path: impl Into<String>, answer: Answer) {
        self.answers.lock().unwrap().insert(path.into(), answer);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn serve(&self, mut stream: impl Read + Write) {
        let mut lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
        let Some(first) = lines.next() else { return };
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let range = lines
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned))
            .find_map(|range| range.split('-').next()?.parse::<usize>().ok());
        self.asked.lock().unwrap().push(match range {
            Some(from) => format!("{path} from {from}"),
            None => path.clone(),
        });
        let absent =
            Answer { status: 404, content_type: "application/json", body: b"{}".to_vec(), cut: None };
        let mut answer = self.answers.lock().unwrap().get(&path).cloned().unwrap_or(absent);
        if let Some(answer) = self.answers.lock().unwrap().get_mut(&path) {
            // The connection breaks once; the next one holds.
            answer.cut = None;
        }
        if let Some(from) = range.filter(|_| answer.status == 200) {
            answer.status = 206;
            answer.body.drain(..from.min(answer.body.len()));
        }
        let head = format!(
            "HTTP/1.1 {} X\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            answer.status,
            answer.content_type,
            answer.body.len()
        );
        let body = &answer.body[..answer.cut.unwrap_or(answer.body.len()).min(answer.body.len())];
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    }

    /// A registry on loopback; gives its host and port.
    fn registry(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = self.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| server.serve(stream)));
        self.answer("/v2/", ok("application/json", b"{}"));
        address
    }

    /// An engine behind a socket.
    fn engine(&self, folder: &Path) -> ResolveOptions {
        let path = folder.join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = self.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| server.serve(stream)));
        ResolveOptions { docker_host: Some(format!("unix://{}", path.display())), ..nowhere() }
    }

    /// Puts all blobs of a layout under a repository, and its first entry under tag 1.
    fn hold(&self, layout: &Layout) {
        for (name, content) in &layout.files {
            let digest = format!("sha256:{}", name.rsplit('/').next().unwrap());
            self.answer(format!("/v2/acme/api/blobs/{digest}"), ok("application/octet-stream", content));
            self.answer(format!("/v2/acme/api/manifests/{digest}"), ok(MANIFEST, content));
        }
        let top = layout.entries[0]["digest"].as_str().unwrap();
        let answer = self.answers.lock().unwrap()[&format!("/v2/acme/api/manifests/{top}")].clone();
        self.answer("/v2/acme/api/manifests/1", answer);
    }
}

fn online() -> ResolveOptions {
    ResolveOptions { offline: false, ..nowhere() }
}

fn find(
    folder: &Path,
    one: &Wanted,
    names: &[&str],
    options: &ResolveOptions,
) -> Result<Vec<FoundImage>, Diagnostics> {
    resolve(std::slice::from_ref(one), &platforms(names), folder, options, &Silent, &Cancel::default())
}

fn blob_path(content: &[u8]) -> String {
    format!("/v2/acme/api/blobs/{}", Digest::of(content))
}

#[test]
fn a_pull_continues_where_it_broke_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::default();
    let host = server.registry();
    let layers = vec![layer("base", 200_000), layer("app", 50)];
    let mut layout = Layout::default();
    let amd64 = layout.image("linux/amd64", &layers, plain);
    let arm64 = layout.image("linux/arm64", &[layer("arm", 9)], zstd);
    let index = layout.index(&[amd64, arm64]);
    let digest = index["digest"].as_str().unwrap().to_owned();
    layout.list(index, &[]);
    server.hold(&layout);
    let big = blob_path(&layers[0]);
    server.answer(big.clone(), Answer { cut: Some(70_000), ..ok("application/octet-stream", &layers[0]) });
    let one = wanted(&format!("{host}/acme/api:1"), None);

    let found = find(folder.path(), &one, &["linux/amd64"], &online()).unwrap();
    assert_eq!(found[0].source, "docker");
    assert_eq!(read(found[0].layers[0].open().unwrap()), layers[0]);
    let asked = server.asked();
    assert!(
        asked.iter().any(|line| line.starts_with(&format!("{big} from ")) && !line.ends_with("from 0")),
        "{asked:?}"
    );
    // The other platform's blobs were left alone, and nothing is asked a second time.
    assert!(!asked.contains(&blob_path(&zstd(&layer("arm", 9)))));
    find(folder.path(), &one, &["linux/amd64"], &nowhere()).unwrap();
    assert!(server.asked().is_empty());
    // One more platform: only what is new is pulled.
    let found = find(folder.path(), &one, &["linux/amd64", "linux/arm64"], &online()).unwrap();
    assert_eq!(found.len(), 2);
    assert!(!server.asked().iter().any(|line| line.starts_with(&big)));
    let pinned =
        find(folder.path(), &wanted(&format!("{host}/acme/api@{digest}"), None), &["linux/amd64"], &online());
    assert_eq!(pinned.unwrap()[0].index.as_ref().unwrap().digest.to_string(), digest);
    let error = find(folder.path(), &one, &["linux/s390x"], &online()).unwrap_err().to_string();
    assert!(error.contains("for linux/amd64, linux/arm64, not for linux/s390x"), "{error}");
}

#[test]
fn a_kept_blob_that_lost_bytes_is_pulled_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::default();
    let host = server.registry();
    let layers = vec![layer("base", 3000)];
    let mut layout = Layout::default();
    let entry = layout.image("linux/amd64", &layers, plain);
    layout.list(entry, &[]);
    server.hold(&layout);
    let one = wanted(&format!("{host}/acme/api:1"), None);
    find(folder.path(), &one, &["linux/amd64"], &online()).unwrap();
    let kept = folder.path().join(format!("images/{}+acme+api@1.from-registry", host.replace(':', "@")));
    let damage = |content: &[u8]| {
        let path = kept.join(format!("blobs/sha256/{}", Digest::of(content).hex()));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[700 % content.len()] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    damage(&layers[0]);
    let found = find(folder.path(), &one, &["linux/amd64"], &online()).unwrap();
    assert!(found[0].layers[0].is_kept(), "whoever packs it can say what to do");
    assert_ne!(read(found[0].layers[0].open().unwrap()), layers[0]);
    server.asked();
    let refresh = ResolveOptions { refresh: true, ..online() };
    let found = find(folder.path(), &one, &["linux/amd64"], &refresh).unwrap();
    assert_eq!(read(found[0].layers[0].open().unwrap()), layers[0]);
    assert!(server.asked().iter().any(|line| line.starts_with(&blob_path(&layers[0]))));
    // What is read while looking is noticed by itself, and told where no registry may be asked.
    damage(&config("linux/amd64", &layers));
    let error = find(folder.path(), &one, &["linux/amd64"], &nowhere()).unwrap_err().to_string();
    assert!(error.contains("is damaged") && error.contains("--refresh"), "{error}");
    find(folder.path(), &one, &["linux/amd64"], &online()).unwrap();
}

#[test]
fn a_registry_that_lies_is_refused() {
    let layers = vec![layer("base", 3000)];
    let mut layout = Layout::default();
    let entry = layout.image("linux/amd64", &layers, plain);
    let digest = entry["digest"].as_str().unwrap().to_owned();
    layout.list(entry, &[]);
    let longer = [layers[0].clone(), vec![0; 512]].concat();
    let mut changed = layers[0].clone();
    changed[700] ^= 1;
    let cases: [(String, Answer, &str); 6] = [
        (blob_path(&layers[0]), ok("x/x", &longer), "more than the"),
        (blob_path(&layers[0]), ok("x/x", &changed), "digest"),
        (blob_path(&layers[0]), Answer { status: 404, ..ok("application/json", b"{}") }, "blob sha256:"),
        ("/v2/acme/api/manifests/1".into(), ok(MANIFEST, b"{"), "malformed"),
        ("/v2/acme/api/manifests/1".into(), ok("text/html", br#"{"mediaType": "text/html"}"#), "no image"),
        (
            "/v2/acme/api/manifests/1".into(),
            Answer { status: 401, ..ok("application/json", b"{}") },
            "docker login",
        ),
    ];
    for (path, answer, part) in cases {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::default();
        let host = server.registry();
        server.hold(&layout);
        server.answer(path, answer);
        let error =
            find(folder.path(), &wanted(&format!("{host}/acme/api:1"), None), &["linux/amd64"], &online());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "`{part}` is not in: {error}");
        // Nothing that looks whole is left behind.
        assert!(
            !folder
                .path()
                .join(format!("images/{}+acme+api@1.from-registry/index.json", host.replace(':', "@")))
                .exists()
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::default();
    let host = server.registry();
    server.hold(&layout);
    let other = format!("sha256:{}", "1".repeat(64));
    let honest = server.answers.lock().unwrap()[&format!("/v2/acme/api/manifests/{digest}")].clone();
    server.answer(format!("/v2/acme/api/manifests/{other}"), honest);
    let error =
        find(folder.path(), &wanted(&format!("{host}/acme/api@{other}"), None), &["linux/amd64"], &online());
    assert!(error.unwrap_err().to_string().to_lowercase().contains("digest"));
}

#[test]
fn an_engine_s_image_is_saved_once_and_again_when_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::default();
    let options = server.engine(folder.path());
    let (inspect, get) = ("/images/docker.io/acme/db:1/json", "/images/docker.io/acme/db:1/get");
    let set = |layers: &[Vec<u8>]| {
        let id = Digest::of(&config("linux/amd64", layers));
        let body =
            format!(r#"{{"Id": "{id}", "Os": "linux", "Architecture": "amd64", "RepoTags": ["acme/db:1"]}}"#);
        server.answer(inspect, ok("application/json", body.as_bytes()));
        server.answer(get, ok("application/x-tar", &engine_20(&["acme/db:1"], layers)));
    };
    let one = wanted("acme/db:1", None);
    set(&[layer("a", 9000)]);
    // The engine hangs up in the middle: nothing is kept.
    let whole = server.answers.lock().unwrap()[get].clone();
    server.answer(get, Answer { cut: Some(5000), ..whole });
    let error = find(folder.path(), &one, &["linux/amd64"], &options).unwrap_err().to_string();
    assert!(error.contains("could not be saved from the engine"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path().join("images")).unwrap().count(), 0);

    server.asked();
    let saves = |names: &[&str]| {
        let found = find(folder.path(), &one, names, &options);
        (
            found.map(|found| found[0].layers[0].diff_id),
            server.asked().iter().filter(|path| *path == get).count(),
        )
    };
    assert_eq!(saves(&["linux/amd64"]), (Ok(Digest::of(&layer("a", 9000))), 1));
    assert_eq!(saves(&["linux/amd64"]), (Ok(Digest::of(&layer("a", 9000))), 0));
    set(&[layer("b", 10)]);
    assert_eq!(saves(&["linux/amd64"]), (Ok(Digest::of(&layer("b", 10))), 1));
    // Another platform is not worth saving.
    let (found, count) = saves(&["linux/arm64"]);
    assert!(found.unwrap_err().to_string().contains("has it for linux/amd64"));
    assert_eq!(count, 0);
    // Gone from the engine, or broken there: what was kept still serves.
    server.answers.lock().unwrap().clear();
    assert_eq!(saves(&["linux/amd64"]), (Ok(Digest::of(&layer("b", 10))), 0));
    server
        .answer(inspect, Answer { status: 500, ..ok("application/json", br#"{"message": "disk on fire"}"#) });
    assert_eq!(saves(&["linux/amd64"]), (Ok(Digest::of(&layer("b", 10))), 0));
    std::fs::remove_dir_all(folder.path().join("images")).unwrap();
    assert!(saves(&["linux/amd64"]).0.unwrap_err().to_string().contains("disk on fire"));
    let foreign = SourceSpec::DockerDaemon { reference: "a b?/../../containers".into() };
    assert!(find(folder.path(), &wanted("a:1", Some(foreign)), &["linux/amd64"], &options).is_err());
}

#[test]
fn a_pin_that_the_engine_cannot_keep_is_not_taken_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::default();
    let options = server.engine(folder.path());
    let pinned = format!("acme/db@sha256:{}", "2".repeat(64));
    let id = Digest::of(b"a configuration");
    let body = format!(r#"{{"Id": "{id}", "Os": "linux", "Architecture": "amd64"}}"#);
    server.answer(format!("/images/docker.io/{pinned}/json"), ok("application/json", body.as_bytes()));
    let error =
        find(folder.path(), &wanted(&pinned, None), &["linux/amd64"], &options).unwrap_err().to_string();
    assert!(error.contains("does not keep the pinned manifest"), "{error}");
    assert!(!server.asked().iter().any(|path| path.ends_with("/get")));
}

#[test]
fn an_engine_and_a_registry_that_never_answer_are_left_at_once_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let engine = UnixListener::bind(&path).unwrap();
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/acme/api:1", registry.local_addr().unwrap());
    let search = |options: &ResolveOptions, one: &Wanted, cancel: &Cancel| {
        let amd64 = platforms(&["linux/amd64"]);
        let began = std::time::Instant::now();
        let found = resolve(std::slice::from_ref(one), &amd64, folder.path(), options, &Silent, cancel);
        assert!(found.is_err());
        // Their own patience is 20 seconds and more.
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    };
    let cancel = Cancel::default();
    let asked = cancel.clone();
    let silent = std::thread::spawn(move || {
        let held = engine.accept().unwrap();
        asked.cancel();
        held
    });
    let options = ResolveOptions { docker_host: Some(format!("unix://{}", path.display())), ..nowhere() };
    let daemon = SourceSpec::DockerDaemon { reference: "acme/api:1".to_owned() };
    search(&options, &wanted("acme/api:1", Some(daemon)), &cancel);
    drop(silent.join().unwrap());

    let cancel = Cancel::default();
    let asked = cancel.clone();
    let silent = std::thread::spawn(move || {
        let held = registry.accept().unwrap();
        asked.cancel();
        held
    });
    let source = SourceSpec::Docker { reference: name.clone() };
    search(&online(), &wanted(&name, Some(source)), &cancel);
    drop(silent.join().unwrap());
}
