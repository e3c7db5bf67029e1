//! Files of other kinds that people put where an archive belongs, known by their first bytes, and a way out.

/// First bytes that [`instead_of_an_archive`] looks at.
pub(crate) const LOOK_BYTES: usize = 512;

/// Beginnings of files that are none, each with what it is and what to do.
const BEGINNINGS: [(&[u8], &str); 12] = [
    (
        b"version https://git-lfs.github.com/spec/",
        "it is a Git LFS pointer, and the file is elsewhere: run `git lfs pull`",
    ),
    (b"PK\x03\x04", "it is a zip file: unpack it, and name the archive in it"),
    (b"PK\x05\x06", "it is an empty zip file"),
    (b"Rar!", "it is a RAR archive: unpack it, and name the archive in it"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7-Zip archive: unpack it, and name the archive in it"),
    (b"!<arch>\n", "it is a Debian package or a static library"),
    (b"\xed\xab\xee\xdb", "it is an RPM package"),
    (b"QFI\xfb", "it is a virtual disk (qcow2)"),
    (b"hsqs", "it is a SquashFS image"),
    (b"\x7fELF", "it is a program"),
    (b"#!", "it is a script"),
    (b"-----BEGIN ", "it is a key or certificate"),
];

/// The kind of a file that begins with `head` and is no archive, and the way out; `None` where it may be one.
pub(crate) fn instead_of_an_archive(head: &[u8]) -> Option<&'static str> {
    if let Some((_, what)) = BEGINNINGS.iter().find(|(beginning, _)| head.starts_with(beginning)) {
        return Some(what);
    }
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return Some(
            "it is UTF-16 text, as PowerShell's `>` writes it: let the program write the file itself, as in `docker save -o FILE`",
        );
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().to_ascii_lowercase();
    if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") {
        return Some("it is an HTML page, such as one that asks to sign in: download the file again");
    }
    if text.starts_with(b"<?xml") {
        return Some("it is an XML document, such as the error of a file store: download the file again");
    }
    if text.starts_with(b"{") {
        return Some("it is a JSON document, such as the error of a registry: download the file again");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_archives_are_known() {
        for (head, what) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid"[..], "git lfs pull"),
            (b"PK\x03\x04\0\0", "zip file"),
            (b"\xff\xfeb\0l\0o\0b\0", "docker save -o"),
            (b"\n  <!DOCTYPE HTML>\n<html>", "HTML page"),
            (b"\xef\xbb\xbf<html><body>", "HTML page"),
            (b"<?xml version=\"1.0\"?><Error>", "XML"),
            (b" {\"errors\":[{\"code\":\"DENIED\"}]}", "JSON"),
            (b"QFI\xfb", "virtual disk"),
        ] {
            let found = instead_of_an_archive(head).unwrap();
            assert!(found.contains(what), "{found}");
        }
        for head in [&b""[..], b"blobs/\0\0", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"manifest.json\0"] {
            assert_eq!(instead_of_an_archive(head), None);
        }
    }
}
