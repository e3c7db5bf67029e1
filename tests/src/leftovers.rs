//! What is left of an engine's namespace once it has ended: nothing, or the test fails.

use fixtures::machine;
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
        // One that has ended and waits for init to notice is gone for all that matters here.
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

/// Waits a moment for what was killed to be gone: a process that is ending has no command line any
/// more and still its control group.
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

/// Namespaces and folders whose owner, a test run or a script, has ended: each a leak.
#[must_use]
pub fn of_ended_runs() -> Vec<String> {
    let mut left = Vec::new();
    for folder in [Path::new("/run/netns"), &machine::scratch()] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix("ferry-").and_then(|rest| rest.split_once('-'));
            let owner = owner.and_then(|(pid, _)| pid.parse::<u32>().ok());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                left.extend(after_a_moment(&name));
            }
        }
    }
    left
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
