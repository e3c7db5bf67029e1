//! Random names and secrets, from the system's random numbers.

/// A random name or secret of `length` letters and digits, from the system's random numbers.
#[must_use]
pub(crate) fn name(length: usize) -> String {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    use rand_core::RngCore;
    let mut name = String::with_capacity(length);
    while name.len() < length {
        // Values past the last whole multiple of 62 are left out, so that all letters are equally likely.
        let value = (rand_core::OsRng.next_u32() & 0xff) as usize;
        if let Some(letter) = LETTERS.get(value % LETTERS.len()).filter(|_| value < 248) {
            name.push(char::from(*letter));
        }
    }
    name
}
