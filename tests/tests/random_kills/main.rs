//! `kill -9` of the installer and of the engine at random instants, again and again: nothing is lost, and the same
//! command comes to its end.
//!
//! `scripts/kills` runs as many as it is told; a small sample runs with every test.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and this one reports"
)]

mod checks;
mod plan;
mod round;
mod site;
mod table;

use plan::Plan;
use round::Rounds;
use site::Place;
use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The order of a run.
#[derive(Debug, Clone)]
struct Order {
    installer: u64,
    engine: u64,
    seed: u64,
    from: u64,
    /// Rounds on one engine.
    fresh: u64,
    seconds: u64,
    /// The folder that keeps the remains of rounds that failed.
    kept: PathBuf,
    /// Prints every round.
    aloud: bool,
}

#[test]
fn a_sample_of_random_kills_loses_nothing() {
    let order = Order {
        installer: 9,
        engine: 1,
        // The same rounds in each run of the suite: only their instants differ.
        seed: number("FERRY_KILLS_SEED", 1),
        from: 0,
        fresh: 100,
        seconds: 60,
        kept: fixtures::machine::cache().join("kills"),
        aloud: false,
    };
    let (failures, kills) = run(&order);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(kills > 0, "nothing was killed in a minute");
}

#[test]
#[ignore = "takes an hour or more: scripts/kills runs it"]
fn as_many_random_kills_as_are_asked_for_lose_nothing() {
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() % 1_000_000;
    let order = Order {
        installer: number("FERRY_KILLS_INSTALLER", 400),
        engine: number("FERRY_KILLS_ENGINE", 100),
        seed: number("FERRY_KILLS_SEED", clock),
        from: number("FERRY_KILLS_FROM", 0),
        fresh: number("FERRY_KILLS_FRESH", 40),
        seconds: number("FERRY_KILLS_SECONDS", u64::MAX / 2),
        kept: std::env::var_os("FERRY_KILLS_KEEP").map_or_else(|| PathBuf::from("kills"), PathBuf::from),
        aloud: true,
    };
    let (failures, _) = run(&order);
    assert!(failures.is_empty(), "{} rounds failed:\n{}", failures.len(), failures.join("\n"));
}

/// The number that the environment names.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Plays rounds until the counts are reached or time is up. A line for each that failed, and the number of kills.
fn run(order: &Order) -> (Vec<String>, u64) {
    let begun = Instant::now();
    let mut rounds = Rounds::new();
    let mut failures = Vec::new();
    let mut place: Option<Place> = None;
    let mut used = 0;
    println!(
        "seed {}, {} kills of the installer, {} of the engine",
        order.seed, order.installer, order.engine
    );
    for plan in plan::rounds(order.seed).skip(order.from as usize) {
        let [installer, engine] = rounds.table.kills();
        let time_is_up = begun.elapsed() > Duration::from_secs(order.seconds);
        if time_is_up || installer >= order.installer && engine >= order.engine {
            break;
        }
        let is_engine = plan.victim.is_engine();
        if is_engine && engine >= order.engine || !is_engine && installer >= order.installer {
            continue;
        }
        if used >= order.fresh {
            place = None;
            used = 0;
        }
        used += 1;
        let here = place.take();
        let mut here = here.unwrap_or_else(|| Place::new(&format!("kills-{}", plan.round), &rounds.bundles));
        here.tell(&told(&plan));
        let played = catch_unwind(AssertUnwindSafe(|| rounds.play(&mut here, &plan)));
        let slowest = rounds.take_slowest();
        let failed = played.as_ref().err().is_some_and(|why| words(why.as_ref()) != site::ENGINE_LOST);
        rounds.table.round(plan.operation, failed, slowest);
        rounds.table.deaf += std::mem::take(&mut here.deaf);
        if order.aloud {
            // What was counted is there, however the run ends.
            fs::create_dir_all(&order.kept).unwrap();
            let counts = format!("seed {}, up to round {}\n\n{}", order.seed, plan.round, rounds.table);
            fs::write(order.kept.join(format!("seed-{}.md", order.seed)), counts).unwrap();
        }
        match played {
            Ok(()) => {
                if order.aloud {
                    let [installer, engine] = rounds.table.kills();
                    println!(
                        "{}: good; {installer} and {engine} kills, {:.0?}",
                        told(&plan),
                        begun.elapsed()
                    );
                }
                here.end_story(&told(&plan));
                place = Some(here);
            }
            Err(why) if words(why.as_ref()) == site::ENGINE_LOST => {
                rounds.table.lost += 1;
                println!("{}: {}; not counted as failed", told(&plan), site::ENGINE_LOST);
                let _ = catch_unwind(AssertUnwindSafe(|| drop(here)));
            }
            Err(why) => {
                let line = format!("seed {}, {}: {}", order.seed, told(&plan), words(why.as_ref()));
                let folder = order.kept.join(format!("seed-{}-round-{}", order.seed, plan.round));
                keep(&here, &folder, &line);
                let short: Vec<&str> = line.lines().take(6).collect();
                println!("FAILED {}\n  kept in {}", short.join("\n  "), folder.display());
                failures.push(line);
                // What is left of it may hinder its end.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(here)));
            }
        }
    }
    println!("seed {}, {:.0?}\n{}", order.seed, begun.elapsed(), rounds.table);
    (failures, rounds.table.kills().iter().sum())
}

fn told(plan: &Plan) -> String {
    let Plan { round, operation, victim, instant, engine_then, again, after } = plan;
    let mut text = format!("round {round}, {operation}, {victim:?} {instant}");
    if *engine_then {
        text.push_str(", then the engine");
    }
    if let Some(again) = again {
        text.push_str(&format!(", the recovery {again}"));
    }
    if *after == plan::After::Other {
        text.push_str(", then something else");
    }
    text
}

/// The words of a panic.
fn words(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<String>().cloned();
    text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Keeps what can be looked at later: Ferry's folder, the engine's log and lists, and the story of the host.
fn keep(place: &Place, folder: &Path, why: &str) {
    fs::create_dir_all(folder).unwrap();
    let host = &place.host;
    let _ = Command::new("cp").arg("-a").arg(&host.root).arg(folder.join("ferry")).output();
    let _ = fs::copy(host.engine.folder().join("engine.log"), folder.join("engine.log"));
    let mut text = format!("{why}\n\n{}\n", place.story);
    for list in [&["ps", "--all"][..], &["images", "--all"], &["volume", "ls"], &["network", "ls"]] {
        text.push_str(&host.engine.docker_text(list).unwrap_or_else(|error| format!("{error:#}")));
        text.push_str("\n\n");
    }
    fs::write(folder.join("story.txt"), text).unwrap();
}
