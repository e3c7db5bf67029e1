//! A build whose key does not sign after all: the packed bytes are there by then, and nothing of them stays.

#[cfg(test)]
#[cfg(unix)]
mod signing {
    use fixtures::small_site::SmallSite;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::process::Command;

    const FAILURE: u8 = 5;
    const IDENTITIES_ANSWER: u8 = 12;
    const SIGN_RESPONSE: u8 = 14;

    fn field(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        field(&[&[kind], body].concat())
    }

    /// An agent that gives each connection one of these answers and hangs up, then is gone.
    fn agent(socket: &Path, answers: Vec<Vec<u8>>) -> std::thread::JoinHandle<()> {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut connection, _) = listener.accept().unwrap();
                let mut length = [0; 4];
                connection.read_exact(&mut length).unwrap();
                let mut request = vec![0; u32::from_be_bytes(length) as usize];
                connection.read_exact(&mut request).unwrap();
                connection.write_all(&answer).unwrap();
            }
        })
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_key_that_does_not_sign_leaves_no_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site");
        SmallSite::default().write(&site).unwrap();
        let key = fixtures::keys::write(folder.path(), "release", 1).unwrap();
        let public = ssh_key::PublicKey::from_openssh(&key.public_line).unwrap();
        let blob = field(&public.to_bytes().unwrap());
        let identities =
            message(IDENTITIES_ANSWER, &[&1_u32.to_be_bytes(), blob.as_slice(), &field(b"release")].concat());
        // Of the right form, over other bytes.
        let foreign = [field(b"ssh-ed25519"), field(&[7; 64])].concat();
        let cases: [(&str, Option<Vec<u8>>, i32, &str); 4] = [
            (
                "refuses",
                Some(message(FAILURE, &[])),
                5,
                "the key is not loaded, or its use was not confirmed",
            ),
            ("hangs up", Some(Vec::new()), 5, "the ssh-agent did not answer"),
            ("dies between", None, 5, "no ssh-agent answers"),
            ("signs something else", Some(message(SIGN_RESPONSE, &field(&foreign))), 1, "is not valid"),
        ];
        for (case, answer, code, fact) in cases {
            let socket = folder.path().join(format!("agent {case}"));
            let ended = agent(&socket, std::iter::once(identities.clone()).chain(answer).collect());
            let before = names(&site);
            let output = Command::new(env!("CARGO_BIN_EXE_ferry"))
                .args(["build", "--offline", "--key"])
                .arg(&key.public)
                .arg("-o")
                .arg(site.join("site.fz"))
                .arg(&site)
                .env("SSH_AUTH_SOCK", &socket)
                .output()
                .unwrap();
            ended.join().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{case}: {said}");
            assert!(said.contains(fact) && said.contains("hint: "), "{case}: {said}");
            assert!(said.contains("✗ packing"), "{case}: {said}");
            assert_eq!(names(&site), before, "{case}");
        }
    }
}
