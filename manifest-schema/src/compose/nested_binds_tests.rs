//! Relative binds below others.

use super::syntax_tests::try_read;

fn refused(text: &str) -> String {
    try_read(text, &[], &[]).expect_err("it must be refused").to_string()
}

#[test]
fn no_relative_bind_lies_where_a_container_can_put_a_link() {
    let text = |x: &str, y: &str| {
        format!("services:\n  x: {{ image: a, {x} }}\n  y:\n    image: b\n    volumes:\n      - {y}\n")
    };
    let below = text("volumes: ['./d:/d']", "./d/l:/l:ro");
    assert_eq!(
        refused(&below),
        "compose.yaml:6:9: service `y` mounts `./d/l` below `./d`, where service `x` can put a link in its place\n  \
           6 |       - ./d/l:/l:ro\n    |         ^\n  hint: mount `./d` with `:ro` in service `x`, or move `./d/l` out of `./d`"
    );
    for (x, y) in [
        ("volumes: ['./d:/d']", "./d/a/b/c:/l"),
        ("volumes: ['./d/a:/d']", "./d//a/./b:/l"),
        ("volumes: ['./d:/d', './d/l:/d/l']", "./e:/e"),
        ("volumes: [{ type: bind, source: d, target: /d }]", "./d/l:/l"),
        ("volumes: ['./d:/d:ro', './d:/again']", "./d/l:/l"),
        ("volumes: ['./d:/d:ro'], volumes_from: [z]", "./d/l:/l"),
    ] {
        let z = "  z: { image: c, volumes: ['./d:/e:ro'] }\n";
        let error = refused(&format!("{}{z}", text(x, y)));
        assert!(error.contains("can put a link in its place"), "{x} {y}: {error}");
    }
    for (x, y) in [
        ("volumes: ['./d:/d:ro']", "./d/l:/l"),
        ("volumes: ['./d:/d']", "./d:/l"),
        ("volumes: ['./d:/d']", "./dd/l:/l"),
        ("volumes: ['./d/l:/d']", "./d/m:/l"),
        ("volumes: ['/d:/d']", "/d/l:/l"),
        ("volumes: ['./d:/d:ro'], volumes_from: ['z:ro']", "./d/l:/l"),
        ("volumes: ['./d:/d'], profiles: [off]", "./d/l:/l"),
    ] {
        let z = "  z: { image: c, volumes: ['./d:/e:ro'] }\n";
        let read = try_read(&format!("{}{z}", text(x, y)), &[], &[]);
        assert!(read.is_ok(), "{x} {y}: {}", read.unwrap_err());
    }
}
