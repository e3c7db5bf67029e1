//! Bytes that should be text: what is said when they are none.

use crate::Diagnostic;

/// The text, where it is UTF-8; else a mistake in `file` that says what to do, with the line of the first byte that
/// does not fit.
///
/// # Errors
/// When the bytes are UTF-16, Latin-1 or no text at all.
pub fn text(file: &str, bytes: Vec<u8>) -> Result<String, Diagnostic> {
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = bytes.as_slice() {
        let mistake = Diagnostic::new(file, "the file is UTF-16 text: save it as UTF-8");
        return Err(mistake.hint("editors have that under \"save as\" or \"encoding\""));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..at).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        // What stands before it on the line is UTF-8.
        let text = before.get(begin..).unwrap_or_default();
        let column = String::from_utf8_lossy(text).chars().count() + 1;
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        let mut mistake =
            Diagnostic::new(file, format!("the byte {byte:#04x} is not UTF-8 text: save it as UTF-8"));
        (mistake.line, mistake.column) = (line, column);
        mistake.hint("it may be in Latin-1, as older editors write it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_encodings_are_named() {
        assert_eq!(text("a", "ä\n".into()).unwrap(), "ä\n");
        let latin = text("a.yaml", b"a: 1\nb: \xe4\n".to_vec()).unwrap_err();
        assert_eq!(
            latin.to_string(),
            "a.yaml:2:4: the byte 0xe4 is not UTF-8 text: save it as UTF-8\n  hint: it may be in Latin-1, as older editors write it"
        );
        let wide = text("a.yaml", b"\xff\xfea\0:\0".to_vec()).unwrap_err().to_string();
        assert!(wide.contains("UTF-16") && wide.contains("save it as UTF-8"), "{wide}");
    }
}
