//! The list of targets.

/// One parser of outside data.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the libFuzzer program, and of the folder of seeds below `corpus/`.
    pub name: &'static str,
    /// The target itself: `true` where the parser accepts the bytes.
    pub run: fn(&[u8]) -> bool,
    /// Name of the word list below `dictionaries/`, without `.dict`.
    pub dictionary: &'static str,
    /// Fewest executions of the smoke run: about a fifth of what one busy core of 2020 does in its time.
    pub floor: u64,
}

const fn target(name: &'static str, run: fn(&[u8]) -> bool, dictionary: &'static str, floor: u64) -> Target {
    Target { name, run, dictionary, floor }
}

/// All targets, those that read what nobody has vouched for first.
pub static TARGETS: [Target; 18] = [
    target("head", crate::head, "bundle", 100_000),
    target("signature", crate::signature, "keys", 5_000),
    target("index", crate::index, "bundle", 100_000),
    target("seek_table", crate::seek_table, "bundle", 100_000),
    target("ferry_json", crate::ferry_json, "ferry_json", 5_000),
    target("bundle", crate::bundle, "ferry_json", 1_000),
    target("allowed_signers", crate::allowed_signers, "keys", 10_000),
    target("agent", crate::agent, "keys", 10_000),
    target("state", crate::state, "state", 1_000),
    target("yaml_tree", crate::yaml_tree, "yaml", 2_000),
    target("compose", crate::compose, "compose", 500),
    target("interpolation", crate::interpolation, "dotenv", 20_000),
    target("dotenv", crate::dotenv, "dotenv", 10_000),
    target("manifest", crate::manifest, "manifest", 1_000),
    target("answers", crate::answers, "yaml", 5_000),
    target("names", crate::names, "names", 50_000),
    target("archive", crate::archive, "archive", 10_000),
    target("oci_layout", crate::oci_layout, "oci", 1_000),
];
