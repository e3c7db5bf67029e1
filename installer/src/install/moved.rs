//! A product that an older Ferry has put at `ROOT/NAME` takes its place below `ROOT/products`, last of all: what runs
//! keeps its paths, see `host::place`.

use crate::host::Root;
use crate::host::journal::{Journal, Step};
use crate::installation::Installation;
use anyhow::Result;

/// Moves the product where it lies at the old place. One that cannot be moved stays there, and is told of where that is
/// no property of the file system.
pub(super) fn to_its_place(root: &Root, installation: &mut Installation, journal: Option<&mut Journal>) {
    if !installation.product.may_move() {
        return;
    }
    let moved = match journal {
        Some(journal) => step(root, installation, journal),
        None => Journal::open(&installation.product, "move")
            .and_then(|mut journal| step(root, installation, &mut journal)),
    };
    if let Err(error) = moved {
        installation.progress.warn(&format!(
            "{} stays at its old place, where it goes on as before: {error:#}",
            installation.product.path().display()
        ));
    }
}

fn step(root: &Root, installation: &mut Installation, journal: &mut Journal) -> Result<()> {
    journal.begin(Step::Move)?;
    if installation.product.move_to_products(root)? {
        installation.product = root.product(&installation.name);
        return journal.done(Step::Move);
    }
    journal.failed(Step::Move, "the file system cannot exchange two names")
}
