//! Where images and artifacts come from, as one line of text.
//!
//! Images are named in the words of skopeo's transports (containers-transports(5)), so that a
//! release engineer can try each line with `skopeo inspect` first. What reaches a program as an
//! argument later, a git reference for example, can never be taken for one of its options.

use crate::ImageRef;
use crate::diagnostic::nearest;

/// Where an image lies, in the words of skopeo's transports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// `docker-archive:path[:reference]`: a tar written by `docker save`.
    DockerArchive {
        /// Relative to the manifest.
        path: String,
        /// Which image of the archive; `None`: the one named like the entry, or the only one.
        reference: Option<String>,
    },
    /// `oci:path[:reference]`: an OCI image layout folder.
    Oci {
        /// Relative to the manifest.
        path: String,
        /// Tag in the layout's index.
        reference: Option<String>,
    },
    /// `oci-archive:path[:reference]`: a tar of an OCI image layout.
    OciArchive {
        /// Relative to the manifest.
        path: String,
        /// Tag in the layout's index.
        reference: Option<String>,
    },
    /// `docker-daemon:reference`: the local engine.
    DockerDaemon {
        /// Name in the engine.
        reference: String,
    },
    /// `docker://reference`: a registry.
    Docker {
        /// Name in the registry, without the leading `//`.
        reference: String,
    },
}

/// Where an artifact lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactFrom {
    /// A file or folder, relative to the manifest.
    Path(String),
    /// `git:repository@reference[:path]`: content of a repository at a reference.
    Git {
        /// The repository's folder, relative to the manifest.
        repository: String,
        /// Tag, branch or commit.
        reference: String,
        /// Path inside the repository; `None`: all of it.
        path: Option<String>,
    },
}

const TRANSPORTS: [&str; 5] = ["docker-archive", "oci-archive", "oci", "docker-daemon", "docker"];

/// A message and what to write instead.
pub(super) type Refusal = (String, String);

impl SourceSpec {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let Some((transport, rest)) = text.split_once(':') else {
            let hint = if text.contains(".tar") || text.contains('/') {
                format!(
                    "write `docker-archive:{text}` for a file of `docker save`, `oci:{text}` for a layout folder"
                )
            } else {
                format!("known transports: {}", TRANSPORTS.join(", "))
            };
            return Err((format!("`{text}` names no transport"), hint));
        };
        let located = || -> Result<(String, Option<String>), Refusal> {
            let (path, reference) = match rest.split_once(':') {
                Some((path, reference)) => (path, Some(reference)),
                None => (rest, None),
            };
            let example = format!("write `{transport}:path/to/image.tar` or `{transport}:path:name`");
            if reference.is_some_and(str::is_empty) {
                return Err((format!("nothing follows the last `:` in `{text}`"), example));
            }
            Ok((local_path(path).map_err(|why| (why, example))?, reference.map(str::to_owned)))
        };
        let named = |name: &str| -> Result<String, Refusal> {
            match name.parse::<ImageRef>() {
                Ok(_) => Ok(name.to_owned()),
                Err(_) if transport == "docker-daemon" && name.parse::<crate::Digest>().is_ok() => {
                    Ok(name.to_owned())
                }
                Err(error) => Err((error.to_string(), format!("write it like `{transport}:acme/api:2.4.0`"))),
            }
        };
        match transport {
            "docker-archive" => located().map(|(path, reference)| Self::DockerArchive { path, reference }),
            "oci" => located().map(|(path, reference)| Self::Oci { path, reference }),
            "oci-archive" => located().map(|(path, reference)| Self::OciArchive { path, reference }),
            "docker-daemon" => named(rest).map(|reference| Self::DockerDaemon { reference }),
            "docker" => {
                named(rest.strip_prefix("//").unwrap_or(rest)).map(|reference| Self::Docker { reference })
            }
            _ => {
                let hint = match nearest(transport, TRANSPORTS) {
                    Some(near) => format!("did you mean `{near}:`?"),
                    None => format!("known transports: {}", TRANSPORTS.join(", ")),
                };
                Err((format!("`{transport}` is not a known transport"), hint))
            }
        }
    }
}

impl ArtifactFrom {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let Some(rest) = text.strip_prefix("git:") else {
            let hint = "write a path relative to the manifest, or `git:../repository@v1.8`";
            return local_path(text).map(Self::Path).map_err(|why| (why, hint.to_owned()));
        };
        let example = "write `git:../repository@v1.8` or `git:../repository@v1.8:path/in/it`".to_owned();
        let Some((repository, rest)) = rest.split_once('@') else {
            return Err((format!("`{text}` names no tag, branch or commit"), example));
        };
        if repository.contains("://") {
            let hint = "clone it beside this folder first and name that folder".to_owned();
            return Err((format!("`{repository}` is not a local folder"), hint));
        }
        let repository = local_path(repository).map_err(|why| (why, example.clone()))?;
        let (reference, path) = match rest.split_once(':') {
            Some((reference, path)) => (reference, Some(path)),
            None => (rest, None),
        };
        let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '~' | '?' | '*' | '[' | '\\');
        if reference.is_empty() || reference.starts_with('-') || reference.contains(odd) {
            return Err((format!("`{reference}` is not a tag, branch or commit"), example));
        }
        let path = path.map(|path| path.trim_end_matches('/'));
        if let Some(path) = path
            && (path.starts_with(['-', ':']) || path.parse::<crate::BundlePath>().is_err())
        {
            return Err((format!("`{path}` is not a path inside a repository"), example));
        }
        Ok(Self::Git { repository, reference: reference.to_owned(), path: path.map(str::to_owned) })
    }
}

/// A path on the connected machine: anything that is not empty and holds no control character.
pub(super) fn local_path(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if text.chars().any(char::is_control) || text.len() > crate::limits::MAX_PATH_BYTES {
        return Err("the path holds a control character or is too long".to_owned());
    }
    if text.contains("://") {
        return Err(format!("`{text}` is an address, not a path"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports() {
        let some = |text: &str| Some(text.to_owned());
        let cases = [
            ("docker-archive:a/b.tar", SourceSpec::DockerArchive { path: "a/b.tar".into(), reference: None }),
            (
                "docker-archive:b.tar:acme/api:2",
                SourceSpec::DockerArchive { path: "b.tar".into(), reference: some("acme/api:2") },
            ),
            ("oci:layout", SourceSpec::Oci { path: "layout".into(), reference: None }),
            ("oci:layout:v1", SourceSpec::Oci { path: "layout".into(), reference: some("v1") }),
            (
                "oci-archive:../x.tar:v1",
                SourceSpec::OciArchive { path: "../x.tar".into(), reference: some("v1") },
            ),
            ("docker-daemon:acme/db:16", SourceSpec::DockerDaemon { reference: "acme/db:16".into() }),
            ("docker://127.0.0.1:5000/a:1", SourceSpec::Docker { reference: "127.0.0.1:5000/a:1".into() }),
            ("docker:redis:7", SourceSpec::Docker { reference: "redis:7".into() }),
        ];
        for (text, expected) in cases {
            assert_eq!(SourceSpec::parse(text), Ok(expected), "{text}");
        }
        for (text, part) in [
            ("dist/api.tar", "write `docker-archive:dist/api.tar`"),
            ("docker-archve:x.tar", "did you mean `docker-archive:`?"),
            ("docker-archive:", "write `docker-archive:path"),
            ("docker-archive:x.tar:", "docker-archive:path:name"),
            ("docker://UPPER", "docker:acme/api"),
            ("", "known transports"),
        ] {
            let (_, hint) = SourceSpec::parse(text).unwrap_err();
            assert!(hint.contains(part), "{text}: {hint}");
        }
    }

    #[test]
    fn artifacts() {
        let git = |repository: &str, reference: &str, path: Option<&str>| ArtifactFrom::Git {
            repository: repository.into(),
            reference: reference.into(),
            path: path.map(str::to_owned),
        };
        assert_eq!(ArtifactFrom::parse("dist/a.deb"), Ok(ArtifactFrom::Path("dist/a.deb".into())));
        assert_eq!(ArtifactFrom::parse("git:../plc@v1.8"), Ok(git("../plc", "v1.8", None)));
        assert_eq!(ArtifactFrom::parse("git:../plc@v1:a/@types/"), Ok(git("../plc", "v1", Some("a/@types"))));
        for bad in [
            "",
            "git:../plc",
            "git:../plc@",
            "git:@v1",
            "git:../plc@--output=/etc/passwd",
            "git:../plc@v1:../x",
            "git:../plc@v1:-x",
            "git:https://host/x@v1",
            "git:../plc@v1 v2",
            "https://host/file",
            "a\nb",
        ] {
            assert!(ArtifactFrom::parse(bad).is_err(), "{bad:?}");
        }
    }
}
