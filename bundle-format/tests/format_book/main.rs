//! Each sentence of FORMAT.md that `container.rs` and the unit tests leave open.
//!
//! The bytes are read here by a small parser of its own ([`book`]), written from FORMAT.md, so that a
//! mistake of our reader cannot hide in our writer. Programs named in FORMAT.md are run; one that is
//! missing is a failure.

#[cfg(test)]
mod book;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod table;
#[cfg(test)]
mod version_2;
