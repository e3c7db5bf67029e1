//! "Every parser of outside data has a target" as a list that is held against the sources.
//!
//! Two things give a parser away: a function that other files can call and whose name begins with `parse`, `read`,
//! `decode`, `scan`, `load` or `from_…`, and a call of a library's decoder. Each such place needs a line
//! below: the target that reaches it, or the reason that none has to. It is named `crate file::function`, without
//! folders, so that a file can move.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use fuzz::TARGETS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates that read what comes from outside.
const CRATES: [&str; 4] = ["manifest-schema", "bundle-format", "bundler", "installer"];

/// The reason that a place needs no target of its own.
#[derive(Debug, Clone, Copy)]
enum By {
    /// This target reaches it.
    Target(&'static str),
    /// It opens or copies, and leaves the reading to one that is listed.
    Passes(&'static str),
    /// The bytes are not from outside, or were authenticated and parsed before.
    Inside(&'static str),
    /// A parser without a target, and what it is instead.
    Without(&'static str),
}
use By::{Inside, Passes, Target, Without};

const PLACES: &[(&str, By)] = &[
    ("bundle-format allowed_signers::parse", Target("allowed_signers")),
    ("bundle-format allowed_signers::parse_line", Target("allowed_signers")),
    ("bundle-format bundle::read", Target("bundle")),
    (
        "bundle-format bundle::read_frame",
        Inside("each frame is hashed first, and the index says how long it is"),
    ),
    ("bundle-format head::read", Target("head")),
    ("bundle-format index::decode", Target("index")),
    ("bundle-format index::decode_with", Target("index")),
    (
        "bundle-format layer::look",
        Without(
            "a layer of whoever builds, or a signed one: the `tar` crate, into those of our own paths that it names",
        ),
    ),
    ("bundle-format read_at::read", Passes("bytes into memory, as many as are asked for")),
    (
        "bundle-format signature::parse_fingerprint",
        Without("one word of a command line, which `ssh-key` reads"),
    ),
    ("bundle-format signature::valid_signers", Target("signature")),
    (
        "bundle-format texts::read",
        Passes("signed texts, each checked by its digest, to the manifest's and Compose's readers"),
    ),
    ("bundler agent::identities", Target("agent")),
    ("bundler agent::sign", Target("agent")),
    ("bundler answers::read", Passes("options and files to `answers::from_file`")),
    (
        "bundler credentials::find",
        Without("Docker's own config.json of whoever builds: serde, into four strings"),
    ),
    (
        "bundler distribution::good",
        Without("64 KiB of a registry: serde, into a list of two texts; else nothing"),
    ),
    ("bundler distribution::token", Without("256 KiB of a token service: serde, into a text; else an error")),
    ("bundler docker_archive::read", Target("oci_layout")),
    ("bundler documents::archive_images", Target("oci_layout")),
    ("bundler documents::object", Target("oci_layout")),
    ("bundler fuzzing::scan", Target("archive")),
    ("bundler held::read", Inside("a file of ours that names the process of a trial")),
    ("bundler inputs::from_texts", Passes("what `texts::read` read, to the parsers")),
    ("bundler inputs::read", Passes("files to the parsers")),
    ("bundler inspect::read", Target("bundle")),
    ("bundler kept::read_images", Target("oci_layout")),
    ("bundler logs::started", Inside("the state of a container, which our own engine library wrote")),
    ("bundler mentions::read", Target("yaml_tree")),
    ("bundler oci_layout::media_type_of", Target("oci_layout")),
    ("bundler oci_layout::read", Target("oci_layout")),
    (
        "bundler owners::user_of",
        Without("the configuration of an image that was read before: serde, for one text of it"),
    ),
    (
        "bundler scan::scan",
        Without("a seed of whoever builds: the `tar` crate, into names and numbers that are compared"),
    ),
    (
        "bundler signing::is_public_half_of",
        Without("a file that whoever builds carries: `ssh-key` reads 64 KiB of it, or refuses"),
    ),
    ("bundler signing::open", Without("the signing key of whoever builds: `ssh-key` reads it, or refuses")),
    ("bundler site::read", Passes("options of the command line")),
    ("bundler tar_scan::scan", Target("archive")),
    ("bundler texts::read", Passes("files to the parsers")),
    ("bundler texts::read_all", Passes("files to the parsers")),
    ("bundler folder::read_below", Passes("a file's bytes, bounded")),
    ("bundler folder::read_file", Passes("a file's bytes, bounded")),
    ("bundler folder::read_inside", Passes("a file's bytes, bounded")),
    ("bundler folder::read_text", Passes("a file's text, bounded")),
    (
        "installer answers::read",
        Passes("options and files to `answers::from_file`, records to `versioned::read`"),
    ),
    ("installer address::from_str", Target("state")),
    ("installer bundle_errors::read_again", Passes("an error into another one")),
    (
        "installer hooks::of",
        Without("a label of our own containers: serde, into lists of strings; else nothing"),
    ),
    ("installer files::read_bounded", Passes("a file's bytes, bounded")),
    ("installer files::read_whole", Passes("an open file's bytes, bounded")),
    ("installer journal::has_header", Without("a line of ours: serde, into a number and a text")),
    ("installer image_id::from_str", Target("state")),
    ("installer image_name::from_str", Target("state")),
    ("installer images::has_config", Inside("a configuration whose digest is signed: serde, into two lists")),
    ("installer images::load", Passes("an archive to the engine, which reads it")),
    ("installer load::load_all", Passes("an archive to the engine, which reads it")),
    (
        "installer lay_out::unpack",
        Inside("entries of a signed bundle; `tar` reads them, paths are checked apart"),
    ),
    ("installer parking::read", Without("what the engine lists, in the engine library's types")),
    ("installer podman::ask_podman", Without("what the engine answers, in the engine library's types")),
    ("installer replica::from_str", Target("state")),
    ("installer state::load", Target("state")),
    ("installer versioned::read", Target("state")),
    ("installer versioned::read_bare", Target("state")),
    ("installer versioned::read_state_1", Target("state")),
    ("manifest-schema answers::from_file", Target("answers")),
    ("manifest-schema project::parse_with_own", Target("compose")),
    ("manifest-schema deploy::decode", Target("compose")),
    ("manifest-schema digest::from_bytes", Inside("any 32 bytes are a digest")),
    ("manifest-schema digest::from_str", Target("names")),
    ("manifest-schema dotenv::parse_dotenv", Target("dotenv")),
    ("manifest-schema dotenv::parse_env", Target("dotenv")),
    ("manifest-schema security::seccomp", Target("compose")),
    ("manifest-schema environment::decode", Target("compose")),
    ("manifest-schema hooks::decode", Target("compose")),
    ("manifest-schema load::interpolated", Target("interpolation")),
    ("manifest-schema load::load", Target("compose")),
    ("manifest-schema mounts::decode", Target("compose")),
    ("manifest-schema names::from_str", Target("names")),
    ("manifest-schema networks::decode", Target("compose")),
    ("manifest-schema ports::decode", Target("compose")),
    ("manifest-schema project::parse", Target("compose")),
    ("manifest-schema release::parse", Target("ferry_json")),
    ("manifest-schema release::parse_with", Target("ferry_json")),
    ("manifest-schema seeds::decode", Target("manifest")),
    (
        "manifest-schema render::read",
        Without("templates, which the template engine parses; fuel and output are bounded"),
    ),
    ("manifest-schema service::decode", Target("compose")),
    ("manifest-schema sources::parse", Target("manifest")),
    ("manifest-schema tree::parse", Target("yaml_tree")),
    ("manifest-schema tree::parse_compose", Target("yaml_tree")),
    ("manifest-schema tree::parse_private", Target("answers")),
    ("manifest-schema tree::read", Target("yaml_tree")),
    ("manifest-schema variables::decode", Target("manifest")),
];

/// Calls that decode with a library.
const DECODERS: [&str; 9] = [
    "serde_json::from_slice",
    "serde_json::from_str",
    "serde_json::from_reader",
    "Key::from_openssh(",
    "PublicKey::from_bytes(",
    "SshSig::from_pem(",
    "Signature::try_from(",
    "tar::Archive::new(",
    "Parser::new_from_str",
];

#[test]
fn every_parser_has_a_target_or_a_reason() {
    let found = found();
    let listed: BTreeSet<&str> = PLACES.iter().map(|(place, _)| *place).collect();
    assert_eq!(listed.len(), PLACES.len(), "a place is listed twice");
    let new: Vec<_> = found.iter().filter(|place| !listed.contains(place.as_str())).collect();
    assert!(new.is_empty(), "these need a target, or a reason in PLACES: {new:#?}");
    let gone: Vec<_> = listed.iter().filter(|place| !found.contains(**place)).collect();
    assert!(gone.is_empty(), "these are no longer there: {gone:#?}");
}

#[test]
fn every_target_reaches_a_parser_and_every_reason_is_given() {
    let mut reached = BTreeSet::new();
    for (place, by) in PLACES {
        match by {
            Target(name) => {
                assert!(TARGETS.iter().any(|target| target.name == *name), "{place}: no target `{name}`");
                reached.insert(*name);
            }
            Passes(why) | Inside(why) | Without(why) => assert!(why.len() > 10, "{place}: {why}"),
        }
    }
    let idle: Vec<_> = TARGETS.iter().filter(|target| !reached.contains(target.name)).collect();
    assert!(idle.iter().all(|target| target.name == "seek_table"), "{idle:?}");
}

/// All places in the sources that look like a parser.
fn found() -> BTreeSet<String> {
    let function =
        regex_lite::Regex::new(r"^\s*(pub(?:\([a-z]+\))? )?(?:const |async |unsafe )*fn ([a-z0-9_]+)")
            .unwrap();
    let parser = regex_lite::Regex::new(
        r"^(parse|interpolated|read|decode|scan|load|from_(str|slice|bytes|texts?|files?|json|yaml))(_|$)",
    )
    .unwrap();
    let mut found = BTreeSet::new();
    let mut files = 0;
    for krate in CRATES {
        for path in sources(&project().join(krate).join("src")) {
            files += 1;
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
            let stem = if stem == "mod" { folder } else { stem };
            let text = fs::read_to_string(&path).unwrap();
            let mut inside = "";
            // Unit tests stand at the end of a file.
            for line in text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")) {
                if let Some(captures) = function.captures(line) {
                    inside = captures.get(2).unwrap().as_str();
                    let shared = captures.get(1).is_some() || inside == "from_str";
                    if shared && parser.is_match(inside) {
                        found.insert(format!("{krate} {stem}::{inside}"));
                    }
                }
                let code = line.split("//").next().unwrap();
                if DECODERS.iter().any(|decoder| code.contains(decoder)) {
                    found.insert(format!("{krate} {stem}::{inside}"));
                }
            }
        }
    }
    assert!(files > 120 && found.len() > 40, "{files} files, {} places", found.len());
    found
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if name != "tests" {
                files.extend(sources(&path));
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}
