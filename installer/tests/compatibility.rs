//! The table of docs/COMPATIBILITY.md against what this program reads and writes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use installer::host::versioned::FORMAT;

#[test]
fn the_table_ends_with_what_this_program_reads_and_writes() {
    let text = include_str!("../../docs/COMPATIBILITY.md");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| 0.") || line.starts_with("| 1."))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows[0], ["0.1.0", "1", "1", "1", "1", "1"], "a row of a released version is never edited");
    let up_to = |newest: u64| (1..=newest).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let bundles = up_to(u64::from(bundle_format::index::VERSION));
    let manifests = up_to(manifest_schema::manifest::MANIFEST_VERSION.unsigned_abs());
    let records = up_to(u64::from(FORMAT));
    let written = manifest_schema::release::RELEASE_VERSION.to_string();
    let own = [env!("CARGO_PKG_VERSION"), &bundles, &manifests, &records, &written, &FORMAT.to_string()];
    assert_eq!(rows.last().unwrap()[..], own);
}
