//! The engine side of `install` against a real engine: `FERRY_TEST_ENGINE=unix:///path cargo test -p
//! installer --test engine -- --ignored --test-threads=4`. Ignored by default, since it needs an
//! engine; run without the variable it fails, it never passes silently.

#[cfg(test)]
mod engine {
    mod hooks;
    mod image_names;
    mod images;
    mod interruption;
    mod lifecycle;
    mod replicas;
    mod seeding;
    mod support;
    mod switching;
}
