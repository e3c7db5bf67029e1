//! Random names and secrets, from the system's random numbers.

/// A random name or secret of `length` letters and digits, from the system's random numbers.
#[must_use]
pub(crate) fn name(length: usize) -> String {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    of(LETTERS, length)
}

/// Letters of [`lower_case`] names.
pub(crate) const LOWER_CASE: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A random name of `length` lower-case letters and digits, five bits each.
#[must_use]
pub(crate) fn lower_case(length: usize) -> String {
    of(LOWER_CASE, length)
}

fn of(letters: &[u8], length: usize) -> String {
    use rand_core::RngCore;
    let mut name = String::with_capacity(length);
    while name.len() < length {
        // Values past the last whole multiple are left out, so that all letters are equally likely.
        let value = (rand_core::OsRng.next_u32() & 0xff) as usize;
        if let Some(letter) = letters.get(value % letters.len()).filter(|_| value < 256 - 256 % letters.len())
        {
            name.push(char::from(*letter));
        }
    }
    name
}
