//! libFuzzer around [`fuzz::dotenv`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::dotenv(data);
});
