//! Archives of every kind that is met, built by code, whole and damaged.

mod build;
mod damage;
mod finding;
mod formats;
mod makers;
#[cfg(unix)]
mod neighbours;
mod network;
