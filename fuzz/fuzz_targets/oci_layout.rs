//! libFuzzer around [`fuzz::oci_layout`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::oci_layout(data);
});
