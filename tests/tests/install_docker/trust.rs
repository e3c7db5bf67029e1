//! Whom a host believes: nobody, until a person names or confirms a key.

use crate::PORT;
use fixtures::small_site::SmallSite;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;
use tests::snapshot::assert_unchanged;

#[test]
fn a_key_must_be_named_once_and_is_pinned_then() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let fingerprint = built.key.fingerprint.as_str();
    let host = Host::docker("trust");
    let before = host.snapshot();
    let _ = host.run(&[built.path()]).exits(5).says("no key is pinned on this host yet").says(fingerprint);
    let _ = host.run(&["verify", built.path()]).exits(5);
    let other = fixtures::keys::write(folder.path(), "other", 2).unwrap();
    let refused = host.run(&["--trust", &other.fingerprint, built.path()]).exits(5);
    let _ = refused.says("not by the key named with --trust").says(fingerprint);
    // What is no fingerprint is a slip, and no other key.
    let short = fingerprint.get(..20).unwrap();
    let _ =
        host.run(&["--trust", short, built.path()]).exits(2).says("43 characters after SHA256:, this has 13");
    let _ = host.run(&["verify", "--trust", fingerprint, built.path()]).succeeds();
    assert_unchanged(&before, &host.snapshot(), "a bundle that is not trusted");
    assert!(!host.root.exists(), "verify pins nothing");

    let _ = host.install(&built);
    let pinned = host.root.join("trust/allowed_signers");
    let key = built.key.public_line.split(' ').nth(1).unwrap();
    assert!(fs::read_to_string(&pinned).unwrap().contains(key));
    assert_eq!(fs::metadata(&pinned).unwrap().permissions().mode() & 0o777, 0o600);
    let _ = host.run(&["verify", built.path()]).succeeds();

    // The next version needs no word, unless another key signed it.
    let next = SmallSite { version: "1.1.0".to_owned(), message: "next".to_owned(), ..SmallSite::default() };
    let next = bundle::small(folder.path(), &next);
    let _ = host.run(&[next.path()]).succeeds();
    let foreign = bundle::signed(folder.path(), &next.site, &folder.path().join("foreign.fz"), 2);
    let before = host.snapshot();
    let refused = host.run(&[foreign.path()]).exits(5).says("which is not pinned on this host");
    let _ = refused.says(&other.fingerprint).says(fingerprint);
    assert_unchanged(&before, &host.snapshot(), "a bundle of another key");

    let _ = host.run(&["--trust", &other.fingerprint, foreign.path()]).succeeds();
    assert_eq!(fs::read_to_string(&pinned).unwrap().lines().count(), 2, "both keys are pinned");
    let _ = host.run(&["verify", foreign.path()]).succeeds();
    let _ = host.run(&["verify", built.path()]).succeeds();
}

#[test]
fn pins_that_cannot_be_read_are_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("pins");
    fs::create_dir_all(host.root.join("trust")).unwrap();
    let pins = host.root.join("trust/allowed_signers");
    let [trust, fingerprint] = built.trust();
    fs::write(&pins, "release ssh-ed25519 not-a-key\n").unwrap();
    let before = host.snapshot();
    let _ = host.run(&[trust, fingerprint, built.path()]).exits(5).says("allowed_signers can be used");
    assert_unchanged(&before, &host.snapshot(), "a damaged allowed_signers");
    // A key pinned by hand, as ssh-keygen's manual describes it.
    fs::write(&pins, format!("# our supplier\nsmall namespaces=\"ferry\" {}\n", built.key.public_line))
        .unwrap();
    let _ = host.run(&["verify", built.path()]).succeeds();
    // A key that is pinned for another product says nothing about this one.
    fs::write(&pins, format!("plant-* {}\n", built.key.public_line)).unwrap();
    let _ = host.run(&["verify", built.path()]).exits(5).says("is pinned on this host for plant-* only");
}

/// `install` on a terminal, with `answer` typed at the prompt. After a slip it asks again: then nothing.
fn asked(host: &Host, built: &Built, answer: &str) -> Outcome {
    let mut running = host.on_terminal(&["--set", "site_name=x", built.path()]);
    let shown = std::cell::Cell::new(false);
    let asks = running.wait_for_output(|line| {
        shown.set(shown.get() || line.contains(&built.key.fingerprint));
        line.contains("to trust that key and pin it")
    });
    assert!(asks, "no prompt: {}", running.end());
    assert!(!shown.get(), "the fingerprint is shown before anything was typed");
    running.type_line(answer);
    if running.wait_for_output(|line| line.contains("The bundle is signed by another key")) {
        running.type_line("");
    }
    running.end()
}

#[test]
fn a_person_at_a_terminal_is_shown_the_fingerprint_and_types_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let fingerprint = &built.key.fingerprint;
    let end = &fingerprint[fingerprint.len() - 12..];
    let host = Host::docker("prompt");
    let before = host.snapshot();
    let head = &fingerprint["SHA256:".len()..][..12];
    for wrong in ["", "y", "yes", &end[1..], "aaaaaaaaaaaa", head] {
        let refused = asked(&host, &built, wrong).exits(5).says(fingerprint);
        let _ = refused.says("No key is pinned on this host yet");
        assert_unchanged(&before, &host.snapshot(), &format!("the answer `{wrong}`"));
    }
    let never = host.on_terminal(&["--no-input", built.path()]).end().exits(5);
    let _ = never.says(fingerprint).does_not_say("type its");
    assert_unchanged(&before, &host.snapshot(), "--no-input");
    let _ = asked(&host, &built, end).succeeds().says("small 1.0.0 runs");
    assert_eq!(host.page(PORT), "hello from the small site");
    assert!(host.root.join("trust/allowed_signers").is_file());
    let _ = host.run(&[built.path()]).succeeds().says("unchanged");
}
