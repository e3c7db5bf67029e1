//! Counts of kills: what was killed, in which operation, where it struck, and what came of it.

use crate::plan::{Operation, Victim};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[derive(Debug, Default, Clone, Copy)]
struct Row {
    installer: u64,
    engine: u64,
    /// Rounds with at least one kill.
    rounds: u64,
    failed: u64,
    slowest: Duration,
}

/// The counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<Operation, Row>,
    struck: BTreeMap<(Operation, String), [u64; 2]>,
    /// Blows that came when the operation had ended.
    pub(crate) late: u64,
    /// Ports that an engine that was killed published and did not serve.
    pub(crate) deaf: u64,
    /// Containers whose processes an engine that was killed has forgotten.
    pub(crate) orphans: u64,
    /// Engines that never came back.
    pub(crate) lost: u64,
}

impl Table {
    /// A kill that met a running program.
    pub(crate) fn kill(&mut self, operation: Operation, victim: Victim, at: &str) {
        let row = self.rows.entry(operation).or_default();
        let struck = self.struck.entry((operation, at.to_owned())).or_default();
        if victim.is_engine() {
            row.engine += 1;
            struck[1] += 1;
        } else {
            row.installer += 1;
            struck[0] += 1;
        }
    }

    /// A round has ended; `slowest` is the longest time that one of its commands took.
    pub(crate) fn round(&mut self, operation: Operation, failed: bool, slowest: Duration) {
        let row = self.rows.entry(operation).or_default();
        row.rounds += 1;
        row.failed += u64::from(failed);
        row.slowest = row.slowest.max(slowest);
    }

    /// Kills of the installer and of the engine.
    pub(crate) fn kills(&self) -> [u64; 2] {
        let sum = |of: fn(&Row) -> u64| self.rows.values().map(of).sum();
        [sum(|row| row.installer), sum(|row| row.engine)]
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| operation | installer killed | engine killed | rounds | recovered | failed | longest command |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- |")?;
        let mut all = Row::default();
        let line = |f: &mut fmt::Formatter<'_>, name: &str, row: &Row| {
            let Row { installer, engine, rounds, failed, slowest } = row;
            let (recovered, seconds) = (rounds - failed, slowest.as_secs_f64());
            writeln!(
                f,
                "| {name} | {installer} | {engine} | {rounds} | {recovered} | {failed} | {seconds:.1} s |"
            )
        };
        for (operation, row) in &self.rows {
            line(f, &operation.to_string(), row)?;
            all.installer += row.installer;
            all.engine += row.engine;
            all.rounds += row.rounds;
            all.failed += row.failed;
            all.slowest = all.slowest.max(row.slowest);
        }
        line(f, "all", &all)?;
        writeln!(f, "\n| operation | it struck | installer | engine |\n| --- | --- | --- | --- |")?;
        for ((operation, at), [installer, engine]) in &self.struck {
            writeln!(f, "| {operation} | {at} | {installer} | {engine} |")?;
        }
        writeln!(f, "\n{} blows came after the operation had ended, and do not count.", self.late)?;
        if self.orphans > 0 {
            let orphans = self.orphans;
            writeln!(f, "Engines that were killed forgot processes of {orphans} containers, which ran on.")?;
        }
        if self.deaf > 0 {
            let deaf = self.deaf;
            writeln!(
                f,
                "Engines that were killed did not serve {deaf} ports until they were restarted in order."
            )?;
        }
        if self.lost > 0 {
            writeln!(f, "{} engines did not start any more, by a fault of their own.", self.lost)?;
        }
        Ok(())
    }
}
