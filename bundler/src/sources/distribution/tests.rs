//! A registry that trickles, never answers, never ends, or sends its clients elsewhere.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// A registry on loopback that gives each connection, with the path that it asks for, to `answer`.
fn registry(answer: impl Fn(&mut TcpStream, &str) + Clone + Send + 'static) -> String {
    registry_of_heads(move |stream, head| answer(stream, head.split(' ').nth(1).unwrap_or_default()))
}

/// The same, with the whole head of each request.
fn registry_of_heads(answer: impl Fn(&mut TcpStream, &str) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                let read = stream.read(&mut head).unwrap_or_default();
                answer(&mut stream, &String::from_utf8_lossy(&head[..read]));
            });
        }
    });
    host
}

const QUICK: Patience = Patience {
    connect: Duration::from_secs(5),
    head: Duration::from_millis(700),
    document: Duration::from_millis(1500),
    window: Duration::from_millis(500),
    bytes: 1000,
};

/// For answers that end at their bytes and not at their time.
const PATIENT: Patience =
    Patience { head: Duration::from_secs(60), document: Duration::from_secs(60), ..QUICK };

async fn manifest(host: &str, patience: Patience) -> String {
    let credentials = Credentials::Password { user: "user".into(), password: "password".into() };
    let repository = Repository::new(host, "acme/api", credentials, patience).unwrap();
    let began = Instant::now();
    let error = repository.manifest("1", &["application/json"]).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(55), "{error:#}");
    format!("{error:#}")
}

/// Sends `piece` until nobody reads any more, a piece each `pause`.
fn endlessly(stream: &mut TcpStream, head: &str, piece: &[u8], pause: Duration) {
    let mut sent = stream.write_all(head.as_bytes());
    while sent.is_ok() {
        std::thread::sleep(pause);
        sent = stream.write_all(piece);
    }
}

const NOW: Duration = Duration::ZERO;
const SLOWLY: Duration = Duration::from_millis(20);

#[tokio::test]
async fn heads_that_never_come_or_never_end_are_left() {
    let silent = registry(|_, _| std::thread::sleep(Duration::from_secs(60)));
    assert!(manifest(&silent, QUICK).await.contains("did not answer in time"));
    let trickling = registry(|stream, _| endlessly(stream, "HTTP/1.1 200 OK\r\n", b"X: 1\r\n", SLOWLY));
    let told = manifest(&trickling, QUICK).await;
    assert!(told.contains("did not answer in time") || told.contains("cannot be reached"), "{told}");
    let endless = registry(|stream, _| endlessly(stream, "HTTP/1.1 200 OK\r\nX: ", &[b'x'; 1 << 16], NOW));
    assert!(manifest(&endless, PATIENT).await.contains("cannot be reached"));
}

#[tokio::test]
async fn documents_that_never_end_are_cut_at_their_limit() {
    let heads = [
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 8589934592\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n",
    ];
    for (head, part) in heads.into_iter().zip(["a manifest of more than", "a manifest of more than", "404"]) {
        let endless = registry(move |stream, _| endlessly(stream, head, &[b' '; 1 << 16], NOW));
        let told = manifest(&endless, PATIENT).await;
        assert!(told.contains(part), "{head}: {told}");
    }
    let trickling = registry(move |stream, _| endlessly(stream, heads[0], b" ", SLOWLY));
    assert!(manifest(&trickling, QUICK).await.contains("took too long to send a manifest"));
}

#[tokio::test]
async fn the_token_service_has_the_same_limits() {
    let asking = |realm: String| {
        registry(move |stream, path| {
            if path.starts_with("/token") {
                return endlessly(
                    stream,
                    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
                    &[b' '; 1 << 16],
                    NOW,
                );
            }
            let host = stream.local_addr().unwrap();
            let realm = realm.replace("HOST", &host.to_string());
            let head = format!(
                "HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer realm=\"{realm}\",service=\"s\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes());
        })
    };
    let told = manifest(&asking("http://HOST/token".to_owned()), PATIENT).await;
    assert!(told.contains("a token of more than"), "{told}");
    let told = manifest(&asking("http://registry.invalid/token".to_owned()), PATIENT).await;
    assert!(told.contains("plain HTTP"), "{told}");
}

#[tokio::test]
async fn redirects_end_and_lead_to_no_plain_http_elsewhere() {
    for (to, part) in [("/v2/again", "redirects without end"), ("http://registry.invalid/", "plain HTTP")] {
        let head =
            format!("HTTP/1.1 302 X\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let host = registry(move |stream, _| drop(stream.write_all(head.as_bytes())));
        let told = manifest(&host, PATIENT).await;
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_carries_no_password() {
    let (heard, hears) = std::sync::mpsc::channel();
    let there = registry_of_heads(move |stream, head| {
        let _ = heard.send(head.to_ascii_lowercase());
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    });
    let here = registry_of_heads(move |stream, head| {
        let answer = if head.to_ascii_lowercase().contains("authorization: basic ") {
            format!("HTTP/1.1 307 X\r\nLocation: http://{there}/elsewhere\r\n")
        } else {
            "HTTP/1.1 401 X\r\nWWW-Authenticate: Basic realm=\"r\"\r\n".to_owned()
        };
        let _ =
            stream.write_all(format!("{answer}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
    });
    let credentials = Credentials::Password { user: "user".into(), password: "password".into() };
    let repository = Repository::new(&here, "acme/api", credentials, PATIENT).unwrap();
    assert_eq!(repository.manifest("1", &["application/json"]).await.unwrap(), b"{}");
    let head = hears.recv().unwrap();
    assert!(head.starts_with("get /elsewhere ") && !head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn a_token_that_does_not_come_may_be_asked_for_again() {
    let slow = registry(|stream, path| {
        if path.starts_with("/token") {
            return endlessly(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" ", SLOWLY);
        }
        let host = stream.local_addr().unwrap();
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"");
        let head = format!("HTTP/1.1 401 X\r\n{challenge}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
    });
    let repository = Repository::new(&slow, "acme/api", Credentials::Anonymous, QUICK).unwrap();
    let Err(error) = repository.blob(&Digest::of(b"x"), 0).await else { panic!("a token came") };
    assert!(error.to_string().contains("took too long to send a token"), "{error:#}");
    assert!(matches!(error.downcast_ref(), Some(Refused::Passing(_))), "{error:#}");
}

#[tokio::test]
async fn a_blob_that_trickles_is_left_and_one_that_flows_is_not() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
    let digest = Digest::of(b"x");
    let begin = |host: String| async move {
        let repository = Repository::new(&host, "acme/api", Credentials::Anonymous, QUICK).unwrap();
        repository.blob(&digest, 0).await.unwrap()
    };
    let mut trickling = begin(registry(move |stream, _| endlessly(stream, head, b" ", SLOWLY))).await;
    let error = loop {
        if let Err(error) = trickling.chunk().await {
            break error;
        }
    };
    assert!(error.to_string().contains("bytes in"), "{error:#}");
    assert!(matches!(error.downcast_ref(), Some(Refused::Passing(_))));
    let mut flowing = begin(registry(move |stream, _| endlessly(stream, head, &[0; 1000], SLOWLY))).await;
    let began = Instant::now();
    while began.elapsed() < QUICK.window * 3 {
        assert!(flowing.chunk().await.unwrap().is_some());
    }
}

#[test]
fn plain_http_is_for_this_machine_only() {
    for here in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
        assert!(is_loopback(here), "{here}");
    }
    for there in ["docker.io", "10.0.0.1:5000", "localhost.example", "127.0.0.1.example:80", "example:5000"] {
        assert!(!is_loopback(there), "{there}");
    }
}
