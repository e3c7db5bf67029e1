//! The procedure of each command, without its command line: each file reads like what the command does.

pub mod build;
pub mod init;
pub mod inspect;
pub mod lint;
pub mod render;
pub mod trial;
pub mod verify;
