//! The procedure of each command, without its command line: each file reads like what the command does.

pub(crate) mod build;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod lint;
pub(crate) mod render;
pub(crate) mod trial;
pub(crate) mod verify;
