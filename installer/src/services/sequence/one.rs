//! One member of a sequence on its way up: made ready, started, made anew where that is needed, and waited for.

use super::{Member, Remake, SequenceError, Stage, Work};
use crate::engine::containers::{Health, RunState};
use crate::engine::events::Events;
use crate::engine::{Engine, EngineError, hint};
use crate::services::failure::{clean, service_failure};
use crate::services::health::{Around, Board, Goal, Outcome, Patience, Waiting};
use crate::services::reason::Reason;
use crate::services::{hooks, without_links};
use manifest_schema::progress::Progress;
use std::path::Path;
use tokio::sync::Semaphore;

/// One member on its way up.
pub(super) struct One<'a> {
    pub(super) engine: &'a Engine,
    pub(super) member: Member,
    pub(super) events: Events,
    pub(super) goal: Goal,
    pub(super) trusted: bool,
    pub(super) patience: &'a Patience,
    pub(super) progress: &'a dyn Progress,
    pub(super) board: &'a Board,
    pub(super) remake: Option<&'a dyn Remake>,
}

impl One<'_> {
    /// Starts it where that has to be, and waits until it is up; `None` where it is trusted as it is.
    ///
    /// # Errors
    /// When it does not come up, or the engine fails.
    pub(super) async fn run(
        mut self,
        starts: &Semaphore,
        set: &(dyn Fn(Stage) + Send + Sync),
        around: &(dyn Fn(u64) -> Around + Send + Sync),
    ) -> Result<Option<Outcome>, SequenceError> {
        let replica = &self.member.replica.clone();
        if self.trusted {
            if let Some(state) = self.engine.inspect(&self.member.container).await?
                && state.health == Some(Health::Unhealthy)
            {
                self.progress.warn(&format!("service {replica} was not changed, and is unhealthy"));
            }
            return Ok(None);
        }
        if self.member.work == Work::Start {
            let _permit = starts.acquire().await;
            self.progress.detail(&format!("starting {replica}"));
            self.start().await?;
        }
        self.post_start().await?;
        set(Stage::Started);
        self.progress.detail(&format!("waiting for {replica}"));
        let outcome = Waiting {
            engine: self.engine,
            events: self.events.clone(),
            replica,
            container: &self.member.container,
            start_interval: self.member.start_interval,
            goal: self.goal,
            patience: self.patience,
            around,
            board: self.board,
        }
        .wait()
        .await?;
        let word = match outcome {
            Outcome::Healthy => "is healthy",
            Outcome::Running => "runs",
            Outcome::Completed => "has completed",
        };
        self.progress.detail(&format!("{replica} {word}"));
        Ok(Some(outcome))
    }

    async fn post_start(&self) -> Result<(), SequenceError> {
        let (engine, container, hooks) =
            (self.engine, self.member.container.as_str(), &self.member.post_start);
        if self.member.work == Work::Keep || hooks.is_empty() {
            return Ok(());
        }
        self.progress.detail(&format!("running the commands of {} after its start", self.member.replica));
        let Some(why) = hooks::run(engine, container, hooks).await? else { return Ok(()) };
        let state = engine.inspect(container).await?;
        let reason = Reason::PostStart(why);
        let failure =
            service_failure(engine, &self.member.replica, container, reason, state.as_ref(), &[]).await;
        Err(SequenceError::Service(Box::new(failure)))
    }

    /// Mends what keeps a start from being enough; `true` where it runs afterwards.
    async fn ready(&self) -> Result<bool, EngineError> {
        let (engine, container) = (self.engine, self.member.container.as_str());
        let Some(now) = engine.inspect(container).await? else { return Ok(false) };
        // Stopped by Ferry on its way to another name: see `parking`.
        if let Some(policy) = self.member.policy.as_ref().filter(|policy| *policy != "no")
            && now.state == RunState::Exited
            && now.restart == "no"
        {
            engine.set_restart(container, policy).await?;
        }
        if now.state == RunState::Paused {
            engine.unpause(container).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Looks for links where it mounts from, now that those which could write above have been stopped.
    async fn refuse_links(&self) -> Result<(), SequenceError> {
        let (engine, container) = (self.engine, self.member.container.as_str());
        let Some(product) = self.member.product.as_ref().filter(|_| engine.facts().local) else {
            return Ok(());
        };
        let Some(state) = engine.inspect(container).await? else { return Ok(()) };
        let sources = state.binds.iter().map(Path::new);
        let refused =
            sources.filter_map(|source| without_links::look_at_source(product, source).err()).next();
        let Some(refused) = refused else { return Ok(()) };
        let reason = Reason::Linked(refused.to_string());
        let failure =
            service_failure(engine, &self.member.replica, container, reason, Some(&state), &[]).await;
        Err(SequenceError::Service(Box::new(failure)))
    }

    async fn start(&mut self) -> Result<(), SequenceError> {
        let engine = self.engine;
        if self.ready().await? {
            return Ok(());
        }
        self.refuse_links().await?;
        let Some(mut message) = refused(engine.start(&self.member.container).await)? else { return Ok(()) };
        // An engine that was killed in a start leaves a task under the container's ID, which nothing but another ID
        // gets round.
        if hint::is_leftover_task(&message)
            && let Some(remake) = self.remake
        {
            self.progress.detail(&format!("making {} anew", self.member.replica));
            self.member.container = remake.remake(&self.member.replica, &self.member.container).await?;
            match refused(engine.start(&self.member.container).await)? {
                None => return Ok(()),
                Some(again) => message = again,
            }
        }
        let container = self.member.container.as_str();
        let state = engine.inspect(container).await?;
        if state.as_ref().is_some_and(|state| state.state == RunState::Running) {
            return Ok(());
        }
        let reason = Reason::Refused(clean(&message));
        let failure =
            service_failure(engine, &self.member.replica, container, reason, state.as_ref(), &[]).await;
        Err(SequenceError::Service(Box::new(failure)))
    }
}

/// The engine's words where it refused; its other failures are errors.
fn refused(started: Result<(), EngineError>) -> Result<Option<String>, EngineError> {
    match started {
        Ok(()) => Ok(None),
        Err(EngineError::Refused { message, .. } | EngineError::Failed { message, .. }) => Ok(Some(message)),
        Err(error) => Err(error),
    }
}
