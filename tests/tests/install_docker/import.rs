//! Images on their way into the engine: strangers on the loopback address, and a stick that fails.

use fixtures::small_site::SmallSite;
use rustix::process::Signal;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use tests::bundle;
use tests::host::Host;
use tests::programs;
use tests::running::Running;

/// Asks every server on loopback for the blob `$1`, tells the first line of the answer, and holds connections that
/// ask for it too and read nothing, as many as it can have.
const NEIGHBOUR: &str = r#"
trap '' PIPE
while :; do
    while read -r _ local _ state _; do
        case "$local $state" in 0100007F:*\ 0A) ;; *) continue ;; esac
        port=$((16#${local#*:}))
        { exec {asking}<>/dev/tcp/127.0.0.1/$port; } 2>/dev/null || continue
        printf 'GET /v2/small/front/blobs/%s HTTP/1.1\r\nHost: x\r\n\r\n' "$1" >&$asking
        IFS= read -r -t 5 line <&$asking && echo "$line"
        exec {asking}>&-
        for _ in {1..100}; do
            { exec {held}<>/dev/tcp/127.0.0.1/$port; } 2>/dev/null || break
            printf 'GET /v2/small/front/blobs/%s HTTP/1.1\r\nHost: x\r\n\r\n' "$1" >&$held
        done
    done </proc/net/tcp
done
"#;

#[test]
fn a_neighbour_who_asks_and_reads_nothing_gets_nothing_and_hinders_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite { ballast: 96 << 20, ..SmallSite::default() });
    let config = built.inspect()["release"]["images"][0]["config"]["digest"].as_str().unwrap().to_owned();
    let host = Host::docker("neighbour");
    let mut command = host.command(&programs::stock("setpriv"));
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", NEIGHBOUR, "neighbour"]);
    let neighbour = Running::start(command.arg(&config));
    let _ = host.install(&built);
    neighbour.signal(Signal::KILL);
    let heard = neighbour.end();
    assert!(heard.stdout.contains("HTTP/1.1 404"), "it never asked the registry: {heard}");
    assert!(!heard.stdout.contains(" 200 "), "a stranger was served: {heard}");
    let names = host.docker_text(&["images", "--digests", "--format", "{{.Repository}}"]);
    assert!(!names.contains("127.0.0.1"), "names of the registry were left: {names}");
}

#[test]
fn a_stick_that_fails_ends_the_pulls_at_once_with_its_own_error() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite { ballast: 64 << 20, ..SmallSite::default() });
    let whole = fs::read(&built.file).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&built.file).unwrap();
    let host = Host::docker("bad-stick");
    let [trust, fingerprint] = built.trust();
    let mut running = host.start(&[trust, fingerprint, built.path()]);
    assert!(running.wait_for(|line| line.contains("\"end\"") && line.contains("verifying")));
    // The large layer fills the middle, and is read again when the engine asks for it.
    file.write_all_at(&[0; 4096], whole.len() as u64 / 2).unwrap();
    let imports = running.wait_for(|line| line.contains("\"begin\"") && line.contains("importing"));
    let began = Instant::now();
    let failed = running.end().exits(4);
    assert!(imports, "{failed}");
    // By itself Docker 20.10 tries again for 75 seconds.
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    let _ = failed.says("the bundle cannot be read any more").says("is damaged").says("still plugged in?");
    assert_eq!(host.containers(), [""; 0]);
    fs::write(&built.file, whole).unwrap();
    let _ = host.install(&built);
}

/// Stands between the installer and the engine at the engine's own address, and holds back the first request that holds
/// `words`; the result is told when it has.
fn hold_back(host: &Host, words: &'static str) -> Receiver<()> {
    let (socket, behind) = (host.engine.socket(), host.engine.folder().join("behind.sock"));
    fs::rename(&socket, &behind).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let (sender, held) = channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(engine)) = (client, UnixStream::connect(&behind)) else { return };
            let (mut from, mut to) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let sender = sender.clone();
            thread::spawn(move || {
                let (mut from, mut to, mut bytes) = (client, engine, [0; 65536]);
                while let Ok(read @ 1..) = from.read(&mut bytes) {
                    if String::from_utf8_lossy(&bytes[..read]).contains(words) {
                        let _ = sender.send(());
                        thread::park();
                    }
                    let _ = to.write_all(&bytes[..read]);
                }
            });
        }
    });
    held
}

#[test]
fn a_name_that_only_the_import_needed_goes_with_its_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let version = |number: usize| SmallSite {
        version: format!("{number}.0.0"),
        message: format!("page {number}"),
        ..SmallSite::default()
    };
    let one = bundle::small(folder.path(), &version(1));
    let two = bundle::small(folder.path(), &version(2));
    let host = Host::docker("import-name");
    let _ = host.install(&one);
    let images = || {
        let format = "{{.ID}} {{.Repository}}:{{.Tag}} {{.Digest}}";
        let text = host.docker_text(&["images", "--all", "--no-trunc", "--digests", "--format", format]);
        text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<String>>()
    };
    let before = images();
    // Killed when the image has its own name, and that of the installer's registry still.
    let held = hold_back(&host, "DELETE /images/127.0.0.1");
    let running = host.start(&[two.path()]);
    held.recv_timeout(Duration::from_secs(60)).unwrap();
    running.signal(Signal::KILL);
    let _ = running.end().exits(137);
    fs::rename(host.engine.folder().join("behind.sock"), host.engine.socket()).unwrap();
    let names = host.inspect("small/front:2.0.0", "{{.RepoDigests}}");
    assert!(names.contains("127.0.0.1"), "{names}");
    let _ = host.run(&[one.path()]).succeeds().says("was interrupted: it is rolled back first");
    assert_eq!(images(), before);
}
