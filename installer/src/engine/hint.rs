//! Hints for the words of engines and services. Only this module reads a message for its cause: the words are an
//! engine's or a program's own, never Ferry's.

/// The hint for `text`, which an engine or a service said.
#[must_use]
pub(crate) fn for_text(text: &str) -> Option<&'static str> {
    const CAUSES: [(&str, &str); 13] = [
        ("no space left", "the disk is full: free space (`df -h`, `docker system df`), then run this again"),
        ("disk quota exceeded", "the disk quota is used up: free space, then run this again"),
        (
            "port is already allocated",
            "another program or container uses the port: `ss -ltnp` shows which; stop it, or change the port in the site's values",
        ),
        (
            "address already in use",
            "another program or container uses the port: `ss -ltnp` shows which; stop it, or change the port in the site's values",
        ),
        (
            "exec format error",
            "the image was built for another processor than this host's: build the bundle for this platform",
        ),
        (
            "permission denied",
            "the service may not read or write something: check the owner and mode of its mounted files and volumes, and `user:`",
        ),
        ("read-only file system", "the service writes where it may not: mount a volume or tmpfs there"),
        (
            "executable file not found",
            "the command does not exist in the image: check `command`, `entrypoint` and the health check",
        ),
        (
            "command that was not found",
            "the command does not exist in the image: check `command`, `entrypoint` and the health check",
        ),
        (
            "could not find an available, non-overlapping",
            "all address ranges for networks are used: remove unused networks (`docker network prune`), or give the network a subnet",
        ),
        (
            "pool overlaps with other one",
            "the network's subnet is already used on this host: choose another one",
        ),
        ("cannot allocate memory", "the host has too little free memory: `free -m` shows how much"),
        (
            "bind source path does not exist",
            "a bind mount names a path that this host does not have: create it first",
        ),
    ];
    let text = text.to_ascii_lowercase();
    CAUSES.iter().find(|(words, _)| text.contains(words)).map(|(_, hint)| *hint)
}
