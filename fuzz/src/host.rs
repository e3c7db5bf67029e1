//! What a host has on record.

use crate::images::scratch;
use installer::host::state::State;
use installer::host::{ProductDir, Root};
use std::sync::OnceLock;

/// Reads the state file of a product, and what it is written as. Also reads it as 0.1.0 wrote its own.
pub fn state(data: &[u8]) -> bool {
    static PRODUCTS: OnceLock<Option<[ProductDir; 2]>> = OnceLock::new();
    let make = || {
        let root = Root::new(&scratch()?.join("root")).ok()?;
        let products = [root.product(&"plant".parse().ok()?), root.product(&"old-plant".parse().ok()?)];
        products.iter().try_for_each(|product| std::fs::create_dir_all(product.path())).ok()?;
        Some(products)
    };
    let Some([product, old]) = PRODUCTS.get_or_init(make) else {
        unreachable!("there is no temporary folder")
    };
    for path in [product.file("installed.json"), old.file("state.json")] {
        let written = std::fs::write(path, data);
        assert!(written.is_ok(), "the state could not be written: {written:?}");
    }
    let read_as_old = State::load(old).is_ok();
    let state = match State::load(product) {
        Ok(state) => state,
        Err(error) => {
            assert!(!format!("{error:#}").is_empty());
            return read_as_old;
        }
    };
    assert!(!read_as_old, "a file with a format number was read as one without");
    assert!(!state.salt.is_empty(), "a state without salt");
    let saved = state.save(product);
    assert!(saved.is_ok(), "a state that was read cannot be saved: {saved:?}");
    let again = State::load(product);
    assert!(matches!(&again, Ok(again) if *again == state), "a state that was read is saved otherwise");
    for (name, id) in state.own_images() {
        assert!(state.owns(name, id));
    }
    true
}
