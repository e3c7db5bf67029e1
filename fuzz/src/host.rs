//! What a host has on record.

use crate::images::scratch;
use installer::host::{ProductDir, Root};
use installer::state::State;
use std::sync::OnceLock;

/// Reads `state.json`, and what it is written as.
pub fn state(data: &[u8]) -> bool {
    static PRODUCT: OnceLock<Option<ProductDir>> = OnceLock::new();
    let make = || {
        let root = Root::new(&scratch()?.join("root")).ok()?;
        Some(root.product(&"plant".parse().ok()?))
    };
    let Some(product) = PRODUCT.get_or_init(make) else { unreachable!("there is no temporary folder") };
    let written = std::fs::create_dir_all(product.path())
        .and_then(|()| std::fs::write(product.file("state.json"), data));
    assert!(written.is_ok(), "the state could not be written: {written:?}");
    let state = match State::load(product) {
        Ok(state) => state,
        Err(error) => {
            assert!(!format!("{error:#}").is_empty());
            return false;
        }
    };
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
