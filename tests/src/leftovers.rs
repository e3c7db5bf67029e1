//! Leftovers of an engine's namespace once it has ended: none, or the test fails.

use fixtures::machine;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Everything on this machine that bears a namespace's name: the namespace, its folder, mounts,
/// processes and control groups.
#[must_use]
pub fn of(name: &str) -> Vec<String> {
    let mut left = Vec::new();
    for path in [machine::scratch().join(name), Path::new("/run/netns").join(name)] {
        if path.exists() {
            left.push(path.display().to_string());
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    left.extend(mounts.lines().filter(|line| line.contains(name)).map(|line| format!("mount {line}")));
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |file: &str| {
            String::from_utf8_lossy(&fs::read(entry.path().join(file)).unwrap_or_default()).replace('\0', " ")
        };
        let (command, groups) = (read("cmdline"), read("cgroup"));
        // A zombie holds nothing: it waits for its parent to notice its end.
        let ended = read("stat").rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z"));
        if !ended && (command.contains(name) || groups.contains(name)) {
            left.push(format!("process {} {command}", entry.file_name().display()));
        }
    }
    for entry in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let group = entry.path().join(name);
        if group.exists() {
            left.push(group.display().to_string());
        }
    }
    left
}

/// Leftovers of a namespace after a moment: a process that is ending keeps its control group a
/// little longer than its command line.
#[must_use]
pub fn after_a_moment(name: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = of(name);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Leftovers of runs (tests or scripts) that have ended: each a leak.
#[must_use]
pub fn of_ended_runs() -> Vec<String> {
    of_runs(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// Leftovers of the runs whose process id is chosen. The name of a namespace, and of its folder, is
/// `ferry-<pid>-<name>`.
pub fn of_runs(chosen: impl Fn(u32) -> bool) -> Vec<String> {
    let mut names = BTreeSet::new();
    for folder in [Path::new("/run/netns"), &machine::scratch()] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        names.extend(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    }
    names.retain(|name| owner(name).is_some_and(&chosen));
    names.iter().flat_map(|name| after_a_moment(name)).collect()
}

/// The process id in a name of ours.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("ferry-")?.split_once('-')?.0.parse().ok()
}

/// Fails the test when something of a namespace is left. It must be dropped after the engine.
#[derive(Debug)]
pub struct NothingLeft(pub String);

impl Drop for NothingLeft {
    fn drop(&mut self) {
        // A test that has failed already says why; a second panic would hide it.
        if !std::thread::panicking() {
            assert_eq!(after_a_moment(&self.0), [""; 0], "of {}", self.0);
        }
    }
}
