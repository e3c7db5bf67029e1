//! Runs last, as cargo orders test files by name: of all the engines, networks, mounts and processes
//! that the others started, nothing is left.

use tests::host::Host;
use tests::leftovers;

#[test]
fn nothing_of_any_run_that_has_ended_is_left() {
    assert_eq!(leftovers::of_ended_runs(), [""; 0]);
}

#[test]
fn the_check_sees_what_is_there() {
    let host = Host::docker("seen");
    let name = host.engine.namespace().name().to_owned();
    let found = leftovers::of(&name).join("\n");
    for part in ["/run/netns/", "mount ", "process "] {
        assert!(found.contains(part), "`{part}` in\n{found}");
    }
    drop(host);
    assert_eq!(leftovers::after_a_moment(&name), [""; 0]);
}
