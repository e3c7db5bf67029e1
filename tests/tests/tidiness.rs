//! The checks for leftovers: they see an engine that runs, and what a killed run has left, which the
//! next run sweeps up. Each [`Host`] makes these checks at its end, and `scripts/test` at its own.
//!
//! Nothing here depends on what ran before, or runs at the same time.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fixtures::{machine, namespace};
use std::fs;
use std::process::{Command, Stdio};
use tests::host::Host;
use tests::leftovers;

#[test]
fn the_check_sees_an_engine_that_runs() {
    let host = Host::docker("seen");
    let name = host.engine.namespace().name().to_owned();
    let found = leftovers::of(&name).join("\n");
    for part in ["/run/netns/", "mount ", "process "] {
        assert!(found.contains(part), "`{part}` in\n{found}");
    }
    drop(host);
    assert_eq!(leftovers::after_a_moment(&name), [""; 0]);
}

#[test]
fn what_a_killed_run_left_is_seen_and_the_next_run_sweeps_it_up() {
    // The run: it lives until its input ends, and what it has is made under its name.
    let mut run = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = run.id();
    let name = format!("ferry-{pid}-killed");
    let folder = machine::scratch().join(&name);
    fs::create_dir(&folder).unwrap();
    machine::succeed(Command::new("ip").args(["netns", "add", &name])).unwrap();
    machine::succeed(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&folder)).unwrap();

    namespace::sweep();
    let found = leftovers::of_runs(|owner| owner == pid).join("\n");
    for part in [&format!("/run/netns/{name}"), &folder.display().to_string(), "mount "] {
        assert!(found.contains(part), "the run lives, and keeps `{part}`:\n{found}");
    }
    let others = leftovers::of_ended_runs();
    assert!(!others.iter().any(|left| left.contains(&name)), "{others:?} names a run that lives");

    run.kill().unwrap();
    run.wait().unwrap();
    namespace::sweep();
    // Another run may be sweeping the same one.
    assert_eq!(leftovers::after_a_moment(&name), [""; 0]);
}
