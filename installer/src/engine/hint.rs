//! Hints for the words of engines and services. Only this module reads a message for its cause: the words are an
//! engine's or a program's own, never Ferry's.

const ADDRESS_TAKEN: &str = "another container has the fixed address of this service, or another program its port: `docker network inspect` and `ss -ltnp` show which; give the network an `ip_range` for services without an address of their own";

const LEFTOVER_TASK: &str =
    "the engine was killed while it started this container: `./install` with the bundle makes it anew";

/// The engine says that a container's ID is in use by a task that an earlier, killed engine has left behind.
#[must_use]
pub(crate) fn is_leftover_task(text: &str) -> bool {
    // As a word: a thing whose name ends in `task` may exist already, too.
    let task = (text.starts_with("task ") || text.contains(" task ")) && text.contains("already exists");
    // Killed a little earlier, it leaves only the task's folder.
    task || (text.contains("failed to start shim") && text.contains("file exists"))
}

/// `text`, which an engine said, is about its disk, which takes no more.
#[must_use]
pub(super) fn is_full_disk(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["no space left", "disk quota exceeded", "file too large"].iter().any(|words| text.contains(words))
}

/// The hint for `text`, which an engine or a service said.
#[must_use]
pub(crate) fn for_text(text: &str) -> Option<&'static str> {
    // In this order: the first that fits is the most particular.
    const CAUSES: &[(&[&str], &str)] = &[
        (
            &["exec:", "permission denied"],
            "its command is not executable: check `command`, `entrypoint` and the file's mode in the image",
        ),
        (
            &["exec:", "no such file or directory"],
            "the command does not exist in the image: check `command`, `entrypoint` and the health check",
        ),
        (
            &["not a directory", "mount"],
            "a file is mounted where the image has a folder, or a folder where it has a file: check `volumes`, `configs` and `secrets`",
        ),
        (
            &["could not select device driver"],
            "the engine cannot hand on the device that `deploy` or `gpus` asks for: install its driver and the engine's plugin for it",
        ),
        (
            &["no space left"],
            "the disk is full: free space (`df -h`, `docker system df`), then run this again",
        ),
        (&["disk quota exceeded"], "the disk quota is used up: free space, then run this again"),
        (
            &["port is already allocated"],
            "another container uses the port: `docker ps` shows which; stop it, or change the port in the site's values; where none that runs has it, the engine was killed while it started one: restart the engine",
        ),
        (
            &["address already in use"],
            "another program or container uses the port: `ss -ltnp` shows which; stop it, or change the port in the site's values",
        ),
        (
            &["exec format error"],
            "the image was built for another processor than this host's: build the bundle for this platform",
        ),
        (
            &["permission denied"],
            "the service may not read or write something: check the owner and mode of its mounted files and volumes, and `user:`",
        ),
        (&["read-only file system"], "the service writes where it may not: mount a volume or tmpfs there"),
        (
            &["executable file not found"],
            "the command does not exist in the image: check `command`, `entrypoint` and the health check",
        ),
        (
            &["command that was not found"],
            "the command does not exist in the image: check `command`, `entrypoint` and the health check",
        ),
        (
            &["could not find an available, non-overlapping"],
            "all address ranges for networks are used: remove unused networks (`docker network prune`), or give the network a subnet",
        ),
        (
            &["pool overlaps with other one"],
            "the network's subnet is already used on this host: choose another one",
        ),
        (&["cannot allocate memory"], "the host has too little free memory: `free -m` shows how much"),
        (
            &["bind source path does not exist"],
            "a bind mount names a path that this host does not have: create it first",
        ),
    ];
    let text = text.to_ascii_lowercase();
    // An engine's own words for an address of a network; a program that cannot listen says more.
    let engines = text.trim() == "address already in use";
    if engines || text.ends_with("container networking: address already in use") {
        return Some(ADDRESS_TAKEN);
    }
    if is_leftover_task(&text) {
        return Some(LEFTOVER_TASK);
    }
    CAUSES.iter().find(|(words, _)| words.iter().all(|word| text.contains(word))).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_words_count() {
        for (text, word) in [
            ("task 0123: already exists", "anew"),
            ("failed to start shim: mkdir /run/x/0123: file exists: unknown", "anew"),
            ("exec: \"/run.sh\": permission denied: unknown", "not executable"),
            ("mkdir /data: permission denied", "owner"),
            ("exec: \"/run.sh\": stat /run.sh: no such file or directory", "does not exist in the image"),
            ("error mounting \"/a\" to rootfs at \"/b\": not a directory: unknown", "folder"),
            ("driver failed: Bind for 127.0.0.1:80 failed: port is already allocated", "restart the engine"),
            ("Address already in use", "fixed address"),
            ("bind() to 0.0.0.0:80 failed (98: Address already in use)", "uses the port"),
            ("listen tcp 0.0.0.0:80: bind: address already in use", "uses the port"),
        ] {
            assert!(for_text(text).is_some_and(|hint| hint.contains(word)), "{text}: {:?}", for_text(text));
        }
        for text in ["something else", "network with name shop_task already exists", "no task of it exists"] {
            assert_eq!(for_text(text), None, "{text}");
        }
    }
}
