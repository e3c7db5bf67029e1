//! Labels and names that Ferry sets by itself.

use super::{Beside, Reserved, Text, parse_with_own};
use std::collections::BTreeMap;

/// Labels and a name of Ferry's own, wherever they can be written.
const FERRYS: &str = "services:
  a: { image: a, labels: { io.ferry.seed-of: v, com.acme: x }, container_name: evil.filling, networks: [n], volumes: ['v:/v'] }
  b: { image: b, labels: [com.docker.compose.project=c, com.docker.compose.extra] }
  c: { image: c, label_file: f }
networks: { n: { labels: { io.ferry.attempt: x } } }
volumes: { v: { labels: [io.ferry.definition=x] } }
";

#[test]
fn labels_and_names_of_ferrys_own_are_refused_and_left_out_of_what_is_installed() {
    let load = |path: &str| (path == "f").then(|| b"io.ferry.job=true\ncom.acme=y\n".to_vec());
    let texts = [Text { file: "compose.yaml", text: FERRYS }];
    let read = |over: Option<&str>, reserved| {
        let over = over.map(|text| Text { file: "override.yaml", text });
        parse_with_own(&texts, &Beside { over, reserved, ..Beside::default() }, &BTreeMap::new(), &load)
    };
    let mistakes = read(None, Reserved::Refused).unwrap_err();
    assert_eq!(mistakes.0.len(), 7, "{mistakes}");
    for (line, label) in [
        (2, "io.ferry.seed-of"),
        (3, "com.docker.compose.project"),
        (4, "io.ferry.job"),
        (5, "io.ferry.attempt"),
        (6, "io.ferry.definition"),
    ] {
        let found =
            mistakes.0.iter().find(|mistake| mistake.message.contains(&format!("the label `{label}`")));
        let found = found.unwrap_or_else(|| panic!("{label}: {mistakes}"));
        assert_eq!(found.line, line, "{found}");
        assert!(found.message.ends_with("is Ferry's own"), "{found}");
    }

    let parsed = read(None, Reserved::Dropped).unwrap();
    assert_eq!(parsed.dropped.len(), 7, "{:?}", parsed.dropped);
    let labels = |name: &str| parsed.project.services[&name.parse().unwrap()].labels.clone();
    assert_eq!(labels("a").into_iter().collect::<Vec<_>>(), [("com.acme".to_owned(), "x".to_owned())]);
    assert_eq!((labels("b").len(), labels("c").len()), (0, 1));
    assert_eq!(parsed.project.services[&"a".parse().unwrap()].container_name, None);
    assert!(parsed.project.networks["n"].labels.is_empty() && parsed.project.volumes["v"].labels.is_empty());

    // What the site writes today is a mistake all the same.
    let over = "services: { a: { labels: { io.ferry.job: 'true' }, container_name: x.filling } }\n";
    let mistakes = read(Some(over), Reserved::Dropped).unwrap_err();
    assert_eq!(mistakes.0.len(), 2, "{mistakes}");
    assert!(mistakes.0.iter().all(|mistake| mistake.file == "override.yaml"), "{mistakes}");
}
