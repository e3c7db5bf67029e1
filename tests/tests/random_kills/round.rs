//! One round: an operation from its start to a kill, what the kill left, and the recovery.

use crate::checks;
use crate::plan::{After, Instant as When, Operation, Plan, Victim};
use crate::site::{Bundles, PORT, Place, Running as Runs};
use crate::table::Table;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::outcome::Outcome;
use tests::programs;
use tests::running::Running;

/// Sizes of an operation, from runs that nobody killed.
#[derive(Debug, Clone, Copy)]
struct Measure {
    time: Duration,
    events: u64,
    records: u64,
}

/// Everything that rounds share.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) bundles: Bundles,
    pub(crate) table: Table,
    measures: BTreeMap<Operation, Measure>,
    /// The most calls of a kind that an operation makes in a thread; `true` where that is known.
    calls: BTreeMap<(Operation, &'static str), (u64, bool)>,
    slowest: Duration,
}

/// The number of calls that is tried at first.
const FIRST_CALLS: u64 = 4;

/// A blow, and when it falls.
#[derive(Debug, Clone, Copy)]
struct Blow {
    victim: Victim,
    when: When,
    /// The engine is back before the installer has ended.
    back_at_once: bool,
}

/// The state that is wanted, and the command that brings it.
#[derive(Debug, Clone)]
struct Wish {
    arguments: Vec<String>,
    runs: Option<Runs>,
    /// The command may find nothing to do, since all is removed.
    may_be_gone: bool,
    /// Its exit code.
    code: i32,
}

impl Rounds {
    pub(crate) fn new() -> Self {
        Self {
            bundles: Bundles::new(),
            table: Table::default(),
            measures: BTreeMap::new(),
            calls: BTreeMap::new(),
            slowest: Duration::ZERO,
        }
    }

    /// The longest time that a command has taken since the last call.
    pub(crate) fn take_slowest(&mut self) -> Duration {
        std::mem::take(&mut self.slowest)
    }

    /// Brings the host to where the operation begins.
    pub(crate) fn prepare(&mut self, place: &mut Place, operation: Operation) {
        if operation.needs_nothing() == place.truth.running.is_none() {
            return;
        }
        let by = if operation.needs_nothing() { Operation::Purge } else { Operation::First };
        let wish = self.wish(place, by, 0);
        let outcome = self.run(place, by, &wish.arguments, None).0;
        self.accept(place, by, &wish, outcome);
        self.settle(place, by, wish, 0);
        checks::whole(place, "after the preparation");
    }

    /// Carries out a round.
    ///
    /// # Panics
    /// At the first thing that is not as it should be.
    pub(crate) fn play(&mut self, place: &mut Place, plan: &Plan) {
        let Plan { operation, round, .. } = *plan;
        self.prepare(place, operation);
        let mut wish = self.wish(place, operation, round);
        let blow = Blow { victim: plan.victim, when: plan.instant, back_at_once: round.is_multiple_of(2) };
        place.is_shaken = false;
        if operation == Operation::Purge {
            place.truth.data = None;
        }
        let before = checks::Served::see(place);
        let (outcome, at) = self.run(place, operation, &wish.arguments, Some(blow));
        let Some(at) = at else {
            // It was faster than the blow.
            self.accept(place, operation, &wish, outcome);
            self.settle(place, operation, wish, round);
            return checks::whole(place, "after a run that nobody killed");
        };
        let when = format!("after a kill ({at})");
        // Its services may have run, so its volume is kept.
        place.truth.extra |= operation == Operation::Failing;
        if place.is_shaken {
            self.table.orphans += place.end_orphans().len() as u64;
            place.revive_neighbour(&self.bundles);
        }
        checks::after_kill(place, operation, &before, &at, &outcome);
        if place.truth.data.is_none() && operation == Operation::First && place.can_write() {
            place.write_data(&format!("written after the kill in round {round}"));
        }
        if plan.engine_then {
            self.table.kill(operation, Victim::Engine, "after the installer was killed");
            place.tell("the engine is killed and started again");
            place.kill_engine();
            place.bring_engine_back();
            place.revive_neighbour(&self.bundles);
            place.assert_data(&when);
        }
        let mut follow = operation;
        // Data that an uninstall has kept are no business of one that finds nothing installed.
        let kept = operation == Operation::First && place.truth.data.is_some();
        if plan.after == After::Other && !kept {
            (follow, wish) = self.other(place, operation, round);
        }
        if follow == Operation::Purge {
            place.truth.data = None;
        }
        if let Some(instant) = plan.again {
            let blow = Blow { victim: Victim::Installer, when: instant, back_at_once: false };
            let (outcome, at) = self.run(place, follow, &wish.arguments, Some(blow));
            match at {
                Some(_) => place.assert_data("after the recovery was killed too"),
                None => self.accept(place, follow, &wish, outcome),
            }
        }
        let (outcome, _) = self.run(place, follow, &wish.arguments, None);
        self.accept(place, follow, &wish, outcome);
        self.settle(place, follow, wish, round);
        if place.is_shaken {
            self.table.orphans += place.end_orphans().len() as u64;
            // A rollback puts a service back as it was: it did not run after the engine was killed.
            if follow == Operation::Failing {
                place.start("small").succeeds();
            }
            if place.truth.running.is_some() {
                place.restart_unless_served(PORT);
            }
        }
        checks::whole(place, &when);
    }

    /// Demands the wished exit code. An engine that was killed and holds a port itself is restarted in order, as the
    /// program says.
    fn accept(&mut self, place: &mut Place, operation: Operation, wish: &Wish, outcome: Outcome) {
        if place.must_restart(&outcome) {
            place.bring_engine_back();
            let again = self.run(place, operation, &wish.arguments, None).0;
            let _ = again.exits(wish.code);
        } else if wish.may_be_gone && outcome.code == 2 {
            let _ = outcome.says("small is not installed");
        } else {
            let _ = outcome.exits(wish.code);
        }
    }

    /// The command of an operation and what it is to bring.
    fn wish(&mut self, place: &Place, operation: Operation, round: u64) -> Wish {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        let runs = place.truth.running.clone();
        let number = runs.as_ref().map_or(0, |runs| runs.number);
        match operation {
            Operation::First => self.first(1),
            Operation::Upgrade => {
                let arguments = words(&[self.bundles.good(number + 1).path()]);
                let runs = runs.map(|runs| Runs { number: number + 1, ..runs });
                Wish { arguments, runs, may_be_gone: false, code: 0 }
            }
            Operation::Failing => {
                let arguments = words(&["--timeout", "2", self.bundles.failing(number + 1).path()]);
                Wish { arguments, runs, may_be_gone: false, code: 8 }
            }
            Operation::Reconfigure => {
                let name = format!("place-{round}");
                let arguments = words(&[
                    "reconfigure",
                    "--product",
                    "small",
                    "--yes",
                    "--set",
                    &format!("site_name={name}"),
                ]);
                let runs = Some(Runs { number, place: name });
                Wish { arguments, runs, may_be_gone: false, code: 0 }
            }
            Operation::Uninstall => {
                let arguments = words(&["uninstall", "--product", "small", "--yes"]);
                Wish { arguments, runs: None, may_be_gone: true, code: 0 }
            }
            Operation::Purge => {
                let arguments = words(&["uninstall", "--product", "small", "--yes", "--volumes"]);
                Wish { arguments, runs: None, may_be_gone: true, code: 0 }
            }
        }
    }

    /// A first install of a version.
    fn first(&mut self, number: u64) -> Wish {
        let built = self.bundles.good(number);
        let [trust, fingerprint] = built.trust();
        let arguments = [trust, fingerprint, "--set", "site_name=nowhere", built.path()];
        let runs = Some(Runs { number, place: "nowhere".to_owned() });
        Wish { arguments: arguments.map(str::to_owned).to_vec(), runs, may_be_gone: false, code: 0 }
    }

    /// Something else than what was killed.
    fn other(&mut self, place: &Place, operation: Operation, round: u64) -> (Operation, Wish) {
        match operation {
            Operation::First => (Operation::Purge, self.wish(place, Operation::Purge, round)),
            Operation::Uninstall | Operation::Purge => {
                let number = place.truth.running.as_ref().map_or(1, |runs| runs.number);
                (Operation::First, self.first(number))
            }
            Operation::Reconfigure => (operation, self.wish(place, operation, round + 1_000_000)),
            Operation::Upgrade | Operation::Failing => {
                let runs = place.truth.running.clone();
                let number = runs.as_ref().map_or(1, |runs| runs.number);
                let back = self.bundles.good(number).path().to_owned();
                let arguments = vec!["--allow-downgrade".to_owned(), back];
                (Operation::Upgrade, Wish { arguments, runs, may_be_gone: false, code: 0 })
            }
        }
    }

    /// Takes over the state that a command has brought.
    fn settle(&mut self, place: &mut Place, operation: Operation, wish: Wish, round: u64) {
        place.truth.running = wish.runs;
        if operation == Operation::Purge {
            place.truth.data = None;
            place.truth.extra = false;
        } else if place.truth.running.is_some() && place.truth.data.is_none() {
            place.write_data(&format!("written in round {round}"));
        }
    }

    /// Runs a command of the installer, with a blow on the way. Says where that struck; `None` when it came too late.
    fn run(
        &mut self,
        place: &mut Place,
        operation: Operation,
        arguments: &[String],
        blow: Option<Blow>,
    ) -> (Outcome, Option<String>) {
        let begun = Instant::now();
        let records = records(place).len() as u64;
        let call = blow.and_then(|blow| self.nth_call(operation, blow.when));
        let mut command = match call {
            Some((call, nth)) => traced(place, call, nth),
            None => place.host.installer(),
        };
        command.arg("--json").args(arguments).env("TMPDIR", place.temporary());
        let mut running = Running::start(&mut command);
        let met = blow.is_some_and(|blow| self.reaches(place, operation, &mut running, blow.when, records));
        if let Some(Blow { victim, back_at_once, .. }) = blow.filter(|_| met && call.is_none()) {
            strike(place, &running, victim);
            if victim.is_engine() && back_at_once {
                place.bring_engine_back();
            }
        }
        let outcome = running.end();
        self.slowest = self.slowest.max(begun.elapsed());
        place.tell(&format!("{:.2} s\n{outcome}", begun.elapsed().as_secs_f64()));
        let victim = blow.filter(|_| met).map(|blow| (blow.victim, blow.back_at_once));
        if let Some((victim, false)) = victim
            && victim.is_engine()
        {
            place.bring_engine_back();
        }
        let struck = victim.filter(|(victim, _)| victim.is_engine() || outcome.code == 137);
        let Some((victim, _)) = struck else {
            self.table.late += u64::from(blow.is_some());
            if let Some((call, nth)) = call {
                let _ = self.calls.insert((operation, call), (nth - 1, true));
            }
            let measure = Measure {
                time: begun.elapsed(),
                events: outcome.stderr.lines().count() as u64,
                records: (crate::round::records(place).len() as u64).saturating_sub(records),
            };
            // A run that found nothing left to do says little about one that does all.
            let known = self.measures.entry(operation).or_insert(measure);
            known.time = known.time.mul_f64(0.7).max(measure.time);
            known.events = known.events.max(measure.events);
            known.records = known.records.max(measure.records);
            return (outcome, None);
        };
        let at = where_it_struck(place, &outcome, records);
        if let Some((call, nth)) = call {
            place.tell(&format!("at {call} number {nth}"));
            let (most, known) = self.calls.entry((operation, call)).or_insert((FIRST_CALLS, false));
            if !*known && nth > *most / 2 {
                *most *= 2;
            }
        }
        place.tell(&format!("{victim:?} killed: {at}"));
        self.table.kill(operation, victim, &at);
        (outcome, Some(at))
    }

    /// The number of a call at which the blow falls; `None` where it falls at another time.
    fn nth_call(&self, operation: Operation, when: When) -> Option<(&'static str, u64)> {
        let When::Call(call, number) = when else { return None };
        // A kind that this operation never makes: another that each makes.
        let none = self.calls.get(&(operation, call)).is_some_and(|(most, _)| *most == 0);
        let call = if none { "writev,sendto" } else { call };
        let most = self.calls.get(&(operation, call)).map_or(FIRST_CALLS, |(most, _)| *most);
        Some((call, number % most.max(1) + 1))
    }

    /// Waits for the instant; `false` when the program ends before.
    fn reaches(
        &self,
        place: &Place,
        operation: Operation,
        running: &mut Running,
        when: When,
        records_before: u64,
    ) -> bool {
        let guess = Measure { time: Duration::from_secs(2), events: 12, records: 6 };
        let measure = self.measures.get(&operation).copied().unwrap_or(guess);
        let now = Instant::now();
        match when {
            // strace strikes.
            When::Call(..) => true,
            When::Share(share) => running.runs_until(now + measure.time.mul_f64(share as f64 / 1000.0)),
            When::Event(number, delay) => {
                let wanted = number % measure.events.max(1);
                let mut seen = 0;
                let found = running.wait_for(|_| {
                    seen += 1;
                    seen > wanted
                });
                found && running.runs_until(Instant::now() + delay)
            }
            // An uninstall keeps no journal.
            When::Record(number, delay) if measure.records == 0 => {
                let share = Duration::from_nanos(number % (measure.time.as_nanos() as u64).max(1));
                running.runs_until(now + share + delay)
            }
            When::Record(number, delay) => {
                let wanted = records_before + number % measure.records + 1;
                while (records(place).len() as u64) < wanted {
                    if !running.runs_until(Instant::now() + Duration::from_millis(1)) {
                        return false;
                    }
                }
                running.runs_until(Instant::now() + delay)
            }
        }
    }
}

/// The installer under strace, which kills it as it enters a call for the `nth` time in one of its threads.
fn traced(place: &Place, call: &str, nth: u64) -> Command {
    let mut command = place.host.command(&programs::stock("strace"));
    command.args(["--follow-forks", "--quiet=all", "--output=/dev/null"]);
    command.arg(format!("--trace={call}")).arg(format!("--inject={call}:signal=KILL:when={nth}"));
    command.arg(programs::install());
    command
}

/// Records of the product's journal: step and phase.
fn records(place: &Place) -> Vec<String> {
    let text = fs::read_to_string(place.host.root.join("products/small/steps.jsonl")).unwrap_or_default();
    let record = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        Some(format!("{} {}", value["step"].as_str()?, value["phase"].as_str()?))
    };
    text.lines().filter_map(record).collect()
}

/// The last thing that the journal or the program itself said of what it did.
fn where_it_struck(place: &Place, outcome: &Outcome, records_before: u64) -> String {
    let events = outcome.stderr.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut events = events.filter(|event| event["stage"].is_string());
    let event = events.next().unwrap_or_default();
    let (stage, text) = (event["stage"].as_str(), event["text"].as_str().unwrap_or_default());
    let doing = text.split(' ').next().unwrap_or_default();
    match (records(place).get(records_before as usize..).and_then(<[_]>::last), stage) {
        (Some(record), Some("starting")) if record == "switch begin" && !doing.is_empty() => {
            format!("{record}: {doing}")
        }
        (Some(record), Some(stage)) if record == "stage begin" => format!("{record}: {stage}"),
        (Some(record), _) => record.clone(),
        (None, Some("removing")) if place.is_without_containers() => {
            "removing, containers are gone".to_owned()
        }
        (None, Some("removing")) => "removing, containers are left".to_owned(),
        (None, Some(stage)) => format!("no record yet: {stage}"),
        (None, None) => "no record yet: before its first word".to_owned(),
    }
}

fn strike(place: &mut Place, running: &Running, victim: Victim) {
    if !victim.is_engine() {
        return running.signal(Signal::KILL);
    }
    place.kill_engine();
    if victim == Victim::EngineAndShims {
        for pid in place.processes(|command, _| command.contains("containerd-shim")) {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}
