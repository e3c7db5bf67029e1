//! Reading what others decide the size of: files of people, compressed streams, ranges of an announced length.

pub(crate) mod compression;
pub(crate) mod exactly;
pub(crate) mod folder;
pub(crate) mod instead;
pub(crate) mod owner;
