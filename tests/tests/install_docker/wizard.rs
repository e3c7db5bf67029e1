//! Questions, asked at a terminal.

use fixtures::damage;
use fixtures::small_site::SmallSite;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;
use tests::running::Running;
use tests::snapshot::assert_unchanged;

const VARIABLES: &str = r#"  site_name: { prompt: "Name of this site", help: "As on the map", pattern: "^[A-Z]{3}-[0-9]+$" }
  side: { prompt: "Which side", choices: [north, south], default: north }
  password: { type: secret, prompt: "Password of the controller", min: 4 }
  token: { type: secret, generate: 16 }
  backup: { type: bool, prompt: "Is there a backup host?", default: false }
  backup_host: { type: address, prompt: "Its address", when: backup }
"#;

/// The small site with these questions and `more`; its banner shows the answers.
fn asking(folder: &Path, version: &str, more: &str) -> Built {
    let site = SmallSite { version: version.to_owned(), ..SmallSite::default() };
    bundle::changed(folder, &site, |site| {
        let old = "  site_name: { prompt: \"Name of this site\", default: \"nowhere\" }\n";
        bundle::replace(&site.join("ferry.yaml"), old, &format!("{VARIABLES}{more}"));
        let banner =
            "{{ site_name }} {{ side }} {{ password }} {{ token | length }} {{ backup_host or 'alone' }}\n";
        fs::write(site.join("templates/banner.txt.j2"), banner).unwrap();
    })
}

fn banner(host: &Host) -> String {
    host.docker_text(&["exec", "small-front-1", "cat", "/www/banner.txt"])
}

/// Ctrl-C and Ctrl-D, which take effect without Enter.
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// Waits for each line, then types what stands beside it.
#[track_caller]
fn types(mut running: Running, lines: &[(&str, &str)]) -> Outcome {
    for (wanted, typed) in lines {
        let came = running.wait_for_output(|line| line.contains(wanted));
        assert!(came, "`{wanted}` never came: {}", running.end());
        match *typed {
            CTRL_C | CTRL_D => running.press(typed),
            line => running.type_line(line),
        }
    }
    running.end()
}

#[test]
fn answers_of_an_install_that_failed_are_offered_again_and_its_generated_secret_stays() {
    let folder = tempfile::tempdir().unwrap();
    let site = SmallSite::default();
    let built = bundle::changed(folder.path(), &site, |site| {
        let old = "  site_name: { prompt: \"Name of this site\", default: \"nowhere\" }\n";
        bundle::replace(&site.join("ferry.yaml"), old, VARIABLES);
        fs::write(site.join("templates/banner.txt.j2"), "{{ site_name }} {{ token }}\n").unwrap();
        let compose = site.join("compose.yaml");
        bundle::replace(
            &compose,
            r#"["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]"#,
            r#"["CMD-SHELL", "/bin/busybox cp /www/banner.txt /spool/last; ! /bin/busybox grep -q BAD /www/banner.txt"]"#,
        );
        bundle::replace(
            &compose,
            "      - ./config/banner.txt:/www/banner.txt:ro\n",
            "      - ./config/banner.txt:/www/banner.txt:ro\n      - ./spool:/spool\n",
        );
    });
    let host = Host::docker("again");
    let [trust, fingerprint] = built.trust();
    let arguments = [trust, fingerprint, "--timeout", "4", built.path()];
    let lines =
        [(NAME, "BAD-1"), (SIDE, "2"), (SECRET, "hunter2"), (AGAIN, "hunter2"), (BACKUP, ""), (REVIEW, "")];
    let _ = types(host.on_terminal(&arguments), &lines).exits(8);
    let spool = host.root.join("small/data/spool/last");
    let token = fs::read_to_string(&spool).unwrap().trim().rsplit_once(' ').unwrap().1.to_owned();
    assert_eq!(token.len(), 16);
    assert!(!fs::read_dir(host.root.join("small/releases")).unwrap().any(|entry| entry.is_ok()));

    let lines = [(NAME, "GOO-1"), (SIDE, ""), (SECRET, ""), (BACKUP, ""), (REVIEW, "")];
    let second = types(host.on_terminal(&arguments), &lines).succeeds().does_not_say("hunter2");
    let _ = second
        .says("the answers of the failed install are offered there, too")
        .says("[BAD-1]")
        .says("[south]")
        .says("[••••]");
    assert_eq!(banner(&host), format!("GOO-1 {token}"));
    assert!(!host.root.join("small/answers.tried.json").exists());
    let _ =
        host.run(&["uninstall", "--yes", "--volumes"]).succeeds().says("small/front:1.0.0, small/ticker:1");
}

const NAME: &str = "     string, matching";
const SIDE: &str = "     a number or a name of the list";
const SECRET: &str = "     what you type is not shown";
const AGAIN: &str = "     once more, to be sure";
const BACKUP: &str = "     yes or no";
const REVIEW: &str = "Enter = install";

/// A stick takes minutes to read: it is read while a person answers, who is not asked to the end for nothing.
#[test]
fn a_broken_stick_is_known_before_all_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let built = asking(folder.path(), "1.0.0", "");
    damage::flip(Path::new(built.path()), fs::metadata(built.path()).unwrap().len() / 2).unwrap();
    let host = Host::docker("broken");
    let [trust, fingerprint] = built.trust();
    let mut running = host.on_terminal(&[trust, fingerprint, built.path()]);
    assert!(running.wait_for_output(|line| line.contains(NAME)), "{}", running.end());
    // All is read long before a person has typed this.
    thread::sleep(Duration::from_secs(3));
    let ended = {
        running.type_line("ABC-7");
        running.end()
    }
    .exits(4)
    .says("is damaged in frame");
    let _ = ended.says("add --set site_name=ABC-7").does_not_say("Which side").says("nothing was changed");
}

#[test]
fn the_questions_of_a_bundle_are_asked_once_and_reach_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let built = asking(folder.path(), "1.0.0", "");
    let host = Host::docker("wizard");
    let [trust, fingerprint] = built.trust();
    let arguments = [trust, fingerprint, built.path()];
    let installed = types(
        host.on_terminal(&arguments),
        &[
            (NAME, "plant1"),
            ("     `plant1` does not match the pattern ^[A-Z]{3}-[0-9]+$", "?"),
            ("     As on the map", "ABC-7"),
            (SIDE, "2"),
            (SECRET, "hunter2"),
            (AGAIN, "hunter3"),
            ("     the two differ", "hunter2"),
            (AGAIN, "hunter2"),
            (BACKUP, "<"),
            (SECRET, "<"),
            (SIDE, "south"),
            (BACKUP, "y"),
            ("5/5  Its address", "backup.local"),
            (REVIEW, "1"),
            (NAME, "XYZ-9"),
            (REVIEW, ""),
        ],
    );
    let installed = installed.succeeds().says("small 1.0.0 runs").does_not_say("hunter");
    let installed =
        installed.says("small 1.0.0 has 4 questions about this site").says("4/4  Is there a backup");
    let _ = installed
        .says("   3  Password of the controller  ••••")
        .says("   4  token                       generated");
    assert_eq!(banner(&host), "XYZ-9 south hunter2 16 backup.local");

    // Nothing is asked a second time, also where there is a terminal.
    let again = host.on_terminal(&[built.path()]).end().succeeds();
    let _ = again.says("unchanged: nothing to do").does_not_say("question");
    // A later bundle asks what is new.
    let next =
        asking(folder.path(), "1.1.0", "  shift: { prompt: \"Hours of a shift\", type: int, default: 8 }\n");
    let lines = [("     int", "12"), (REVIEW, "")];
    let next = types(host.on_terminal(&[next.path()]), &lines).succeeds().says("small 1.1.0 runs");
    let next = next.says("small 1.1.0 has 1 question about this site").says("1/1  Hours of a shift");
    let _ = next.says("6 answers remembered on this host");
    assert_eq!(banner(&host), "XYZ-9 south hunter2 16 backup.local");

    // Asked for, all are asked again, with what is answered in brackets; passwords stay.
    let lines = [
        (NAME, "NEW-1"),
        (SIDE, ""),
        (BACKUP, "n"),
        ("     int", ""),
        ("Enter = show what changes", ""),
        ("  service   ticker: unchanged", "y"),
    ];
    let other = types(host.on_terminal(&["reconfigure"]), &lines).succeeds().says("replaced   front");
    let _ = other.says("-XYZ-9 south ••••••••").says("+NEW-1 south ••••••••").does_not_say("hunter");
    assert_eq!(banner(&host), "NEW-1 south hunter2 16 alone");
}

#[test]
fn who_stops_before_the_end_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let built = asking(folder.path(), "1.0.0", "");
    let host = Host::docker("stops");
    let [trust, fingerprint] = built.trust();
    let arguments = [trust, fingerprint, built.path()];
    let before = host.snapshot();
    let unchanged = |what: &str| {
        assert_unchanged(&before, &host.snapshot(), what);
        assert!(!host.root.exists(), "{what}");
    };
    let answers = [(NAME, "ABC-7"), (SIDE, ""), (SECRET, "hunter2"), (AGAIN, "hunter2"), (BACKUP, "")];

    let lines: Vec<_> = answers.into_iter().chain([(REVIEW, "q")]).collect();
    let stopped = types(host.on_terminal(&arguments), &lines).exits(130).says("stopped at the review");
    let again = "to give the same answers again, add --set site_name=ABC-7 --set side=north --set backup=no";
    let _ = stopped.says(again).does_not_say("hunter");
    unchanged("q at the review");

    // One Ctrl-C is enough, also while nothing is shown.
    let _ = types(host.on_terminal(&arguments), &[(NAME, CTRL_C)]).exits(130).says("nothing was changed");
    unchanged("Ctrl-C");
    let lines: Vec<_> = answers[..2].iter().copied().chain([(SECRET, CTRL_C)]).collect();
    let _ = types(host.on_terminal(&arguments), &lines).exits(130).says("stopped by Ctrl-C");
    unchanged("Ctrl-C at a password");

    let ended = types(host.on_terminal(&arguments), &[(NAME, "ABC-7"), (SIDE, CTRL_D)]).exits(3);
    let _ = ended.says("the input ended before the answers were confirmed").says("hint: run it again");
    unchanged("the end of the input");

    // Nobody is asked: all that is missing is told at once.
    let no_input: Vec<&str> = std::iter::once("--no-input").chain(arguments).collect();
    for refused in [host.on_terminal(&no_input).end(), host.run(&arguments)] {
        let refused = refused.exits(3).says("`site_name` has no value").says("`password` has no value");
        let refused = refused.says("fix: give it with --set NAME=VALUE, --values FILE or FERRY_VAR_NAME");
        let _ = refused.does_not_say("question");
    }
    let dry: Vec<&str> = std::iter::once("--dry-run").chain(arguments).collect();
    let _ = host.on_terminal(&dry).end().exits(3).does_not_say("question");
    // A mistake on the command line is told before anything is asked.
    let wrong: Vec<&str> = ["--set", "side=west"].into_iter().chain(arguments).collect();
    let _ = host.on_terminal(&wrong).end().exits(3).says("found `west`").does_not_say("question");
    unchanged("nothing was asked");
}
