//! One product on this host: its engine, its folder, and what is recorded of it.

use crate::engine::{Engine, EngineAddress, EngineError};
use crate::host::state::{Attempt, State};
use crate::host::{ProductDir, Root};
use anyhow::Result;
use manifest_schema::ProjectName;
use manifest_schema::progress::Progress;
use std::sync::Arc;

/// A product on this host, with what every change of it needs.
pub(crate) struct Installation {
    /// The product, which names its project in the engine too.
    pub name: ProjectName,
    pub product: ProductDir,
    /// The engine it runs on.
    pub engine: Engine,
    pub state: State,
    /// Where its changes are shown.
    pub progress: Arc<dyn Progress>,
}

impl Installation {
    /// Reads the record of a product and connects to its engine: the one that is named, or the recorded one.
    ///
    /// # Errors
    /// When the record cannot be read, or the engine does not answer.
    pub(crate) async fn open(
        root: &Root,
        name: ProjectName,
        engine: Option<&EngineAddress>,
        progress: Arc<dyn Progress>,
    ) -> Result<Self> {
        let product = root.product(&name);
        let state = State::load(&product)?;
        let engine = Engine::connect(engine.or(state.engine.as_ref())).await;
        let engine = engine.map_err(EngineError::into_failure)?;
        Ok(Self { name, product, engine, state, progress })
    }

    /// Records the state.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self) -> Result<()> {
        self.state.save(&self.product)
    }

    /// Records how far `attempt` came.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn record(&mut self, attempt: &Attempt) -> Result<()> {
        self.state.attempt = Some(attempt.clone());
        self.save()
    }

    /// Records that no attempt is under way any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn end_attempt(&mut self) -> Result<()> {
        self.state.attempt = None;
        self.state.seeding.clear();
        self.save()
    }
}
