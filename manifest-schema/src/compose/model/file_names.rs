//! Names that people give to files: a bind whose source is missing does not say whether a file or a folder is wanted.

/// Names in `/etc` that are files.
const IN_ETC: [&str; 13] = [
    "adjtime",
    "fstab",
    "group",
    "hostname",
    "hosts",
    "localtime",
    "machine-id",
    "os-release",
    "passwd",
    "protocols",
    "services",
    "shadow",
    "timezone",
];

/// Ends of names that are files.
const ENDS: [&str; 41] = [
    "cer",
    "cfg",
    "cnf",
    "conf",
    "config",
    "crt",
    "csr",
    "csv",
    "db",
    "der",
    "env",
    "htpasswd",
    "html",
    "ini",
    "jks",
    "js",
    "json",
    "key",
    "keytab",
    "lic",
    "license",
    "list",
    "log",
    "lua",
    "p12",
    "pem",
    "pfx",
    "php",
    "pid",
    "properties",
    "pub",
    "py",
    "sh",
    "sock",
    "sql",
    "sqlite",
    "toml",
    "txt",
    "xml",
    "yaml",
    "yml",
];

/// A path whose name is one that people give to files. Folders that are called so are rare.
#[must_use]
pub fn names_a_file(path: &str) -> bool {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name = name.to_ascii_lowercase();
    let end = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, end)| end);
    matches!(name.as_str(), ".env" | ".htpasswd" | "htpasswd" | "resolv.conf")
        || (above == "/etc" && IN_ETC.contains(&name.as_str()))
        || end.is_some_and(|end| ENDS.contains(&end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_files_from_folders() {
        for file in [
            "/etc/localtime",
            "/etc/timezone",
            "/a/app.conf",
            "/run/docker.sock",
            "/x/Server.PEM",
            "/x/.env",
            "app.yml",
        ] {
            assert!(names_a_file(file), "{file}");
        }
        for folder in [
            "/srv/data",
            "/etc/conf.d",
            "/opt/app-1.2",
            "/",
            "/srv/services",
            "/root/.config",
            "conf",
            "/etc/.db",
        ] {
            assert!(!names_a_file(folder), "{folder}");
        }
    }
}
