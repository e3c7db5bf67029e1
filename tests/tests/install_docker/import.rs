//! Images on their way into the engine: strangers on the loopback address, and a stick that fails.

use fixtures::small_site::SmallSite;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::FileExt as _;
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
