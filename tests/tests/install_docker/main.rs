//! `install` on Debian's Docker Engine 20.10, in a namespace without a route out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod access;
mod compose_2;
mod engine_killed;
mod everyday;
mod full_disk;
mod golden;
mod host_files;
mod host_paths;
mod ill;
mod image_names;
mod import;
mod interruption;
mod links;
mod main_path;
mod many_sites;
mod nothing_lost;
mod odd_images;
mod own_words;
mod preflight;
mod reconfigure;
mod strict;
mod trial;
mod trust;
mod upgrade;
mod version_2;
mod volumes;
mod wizard;

/// The port that the small site publishes: every host has a loopback of its own.
const PORT: u16 = 18080;
