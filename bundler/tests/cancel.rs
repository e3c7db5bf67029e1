//! Ctrl-C at any moment of a build: what was there stays, and nothing else is left.

#[cfg(test)]
mod cancel {
    use bundle_format::PackOptions;
    use bundler::{Cancel, Request, ResolveOptions, SigningKey, build};
    use fixtures::small_site::SmallSite;
    use manifest_schema::progress::Progress;
    use manifest_schema::render::InProcess;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Asks for the end at one event.
    struct AskAt {
        cancel: Cancel,
        event: usize,
        seen: AtomicUsize,
    }

    impl AskAt {
        fn hear(&self) {
            if self.seen.fetch_add(1, Ordering::Relaxed) == self.event {
                self.cancel.cancel();
            }
        }
    }

    impl Progress for AskAt {
        fn begin(&self, _: &str, _: Option<u64>) {
            self.hear();
        }
        fn advance(&self, _: u64) {}
        fn detail(&self, _: &str) {
            self.hear();
        }
        fn end(&self, _: &str) {
            self.hear();
        }
        fn warn(&self, _: &str) {}
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_build_that_is_stopped_at_any_event_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path();
        SmallSite::default().write(site).unwrap();
        let key = fixtures::keys::write(site, "release", 1).unwrap();
        let output = site.join("site.fz");
        let request = Request {
            manifest: site.to_path_buf(),
            output: Some(output.clone()),
            keys: vec![SigningKey::open(&key.private, &|_| None).unwrap()],
            pack: PackOptions { level: 3, threads: 1 },
            resolve: ResolveOptions { offline: true, ..ResolveOptions::default() },
            rename: None,
            renderer: &InProcess,
        };
        // Only a bundle is ever written over.
        let old = [bundle_format::frame::EMPTY_FRAME.as_slice(), b"the bundle of before"].concat();
        std::fs::write(&output, &old).unwrap();
        let before = names(site);
        for event in 0.. {
            let cancel = Cancel::default();
            let progress = AskAt { cancel: cancel.clone(), event, seen: AtomicUsize::new(0) };
            let result = build(&request, &progress, &cancel);
            if !cancel.is_cancelled() {
                // That many events there are; the last, the end of packing, was among those tried.
                assert!(event >= 6, "{event}");
                result.unwrap();
                break;
            }
            assert!(result.is_err(), "it went on after event {event}");
            assert_eq!(std::fs::read(&output).unwrap(), old, "{event}");
            assert_eq!(names(site), before, "event {event}");
        }
        assert!(std::fs::metadata(&output).unwrap().len() > 1000);
    }
}
