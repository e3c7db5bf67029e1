//! The check of every byte of the bundle, made once in a run. It begins while a person answers, and a second look at
//! the host takes its result.

use super::{Request, Source};
use crate::install::preflight::{self, Finding};
use anyhow::Result;
use bundle_format::check::{self, Broken};
use bundle_format::{Bundle, FormatError};
use ferry_terminal::{Failure, human};
use manifest_schema::Digest;
use manifest_schema::progress::Progress;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The check of a run.
#[derive(Debug, Default)]
pub(crate) struct Verifying(Mutex<Option<Check>>);

#[derive(Debug)]
struct Check {
    /// The bundle that is checked: another may lie at the same path by now.
    bundle: Digest,
    shared: Arc<Shared>,
    state: State,
}

#[derive(Debug)]
enum State {
    Runs(JoinHandle<Result<Vec<Broken>, FormatError>>),
    Done(Vec<Broken>),
}

/// Shared by the threads of the check and those who wait for it.
#[derive(Default)]
struct Shared {
    /// Where it is shown, once somebody waits.
    shown: Mutex<Shown>,
    found_damage: AtomicBool,
}

#[derive(Default)]
struct Shown {
    /// Bytes that were read before.
    bytes: u64,
    on: Option<Arc<dyn Progress>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("found_damage", &self.found_damage).finish_non_exhaustive()
    }
}

impl Shared {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Shared {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn detail(&self, _: &str) {}
    fn end(&self, _: &str) {}
    fn warn(&self, _: &str) {}

    fn advance(&self, bytes: u64) {
        let mut shown = self.shown();
        match &shown.on {
            Some(progress) => progress.advance(bytes),
            None => shown.bytes = shown.bytes.saturating_add(bytes),
        }
    }
}

impl Check {
    fn begin(bundle: &Arc<Bundle<File>>, cancel: &CancellationToken) -> Self {
        let shared = Arc::<Shared>::default();
        let id = bundle.verified().id();
        let (bundle, stop, told) = (Arc::clone(bundle), cancel.clone(), Arc::clone(&shared));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let state = State::Runs(tokio::task::spawn_blocking(move || {
            let found = || told.found_damage.store(true, Ordering::Relaxed);
            check::check_telling(&bundle, threads, told.as_ref(), &|| stop.is_cancelled(), &found)
        }));
        Self { bundle: id, shared, state }
    }
}

impl Verifying {
    fn check(&self) -> MutexGuard<'_, Option<Check>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the check in the background, where it has not begun. Needs tokio's runtime.
    pub(super) fn begin(&self, bundle: &Arc<Bundle<File>>, cancel: &CancellationToken) {
        let check = self.taken(bundle, cancel);
        *self.check() = Some(check);
    }

    /// The check of this bundle, which is begun where there is none.
    fn taken(&self, bundle: &Arc<Bundle<File>>, cancel: &CancellationToken) -> Check {
        let id = bundle.verified().id();
        let begun = self.check().take().filter(|check| check.bundle == id);
        begun.unwrap_or_else(|| Check::begin(bundle, cancel))
    }

    /// The check has found a broken place already.
    pub(super) fn has_found_damage(&self) -> bool {
        self.check().as_ref().is_some_and(|check| check.shared.found_damage.load(Ordering::Relaxed))
    }

    /// The broken places of the bundle, all of them: begins the check, or waits for the one that runs. A retained
    /// bundle lacks its layers on purpose, and is not checked.
    ///
    /// # Errors
    /// When the check cannot be made, or somebody stops it.
    pub(super) async fn findings(
        &self,
        request: &Request,
        bundle: &Arc<Bundle<File>>,
        progress: &Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Finding>> {
        if request.source == Source::Host {
            return Ok(Vec::new());
        }
        let mut check = self.taken(bundle, cancel);
        let broken = match check.state {
            State::Done(broken) => broken,
            State::Runs(checking) => {
                let total = bundle.verified().index().payload_end();
                progress.begin("verifying", Some(total));
                {
                    let mut shown = check.shared.shown();
                    progress.resume(shown.bytes);
                    shown.on = Some(Arc::clone(progress));
                }
                let broken = checking.await;
                check.shared.shown().on = None;
                let broken = broken??;
                if cancel.is_cancelled() {
                    return Err(Failure::cancelled().into());
                }
                if broken.is_empty() {
                    progress.end(&format!("{} as signed", human::bytes(bundle.verified().file_bytes())));
                } else {
                    progress.fail("the bundle is damaged");
                }
                broken
            }
        };
        let findings = preflight::check_bundle(&request.bundle, &broken);
        check.state = State::Done(broken);
        *self.check() = Some(check);
        Ok(findings)
    }
}
