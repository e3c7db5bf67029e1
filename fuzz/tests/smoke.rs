//! Every target over its seeds, and over damage to them that is the same in each run.
//!
//! `the_seeds` is quick and an ordinary test. `smoke` takes a minute and is called by `scripts/test`: it is bounded
//! by time, prints what each target did, and fails below a floor of executions, so that a run that did nothing
//! does not pass. What fails is kept in `target/fuzz-smoke/`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

use fuzz::{Mutator, TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Of the whole run, on two cores; `FERRY_SMOKE_SECONDS` says otherwise, `FERRY_SMOKE_TARGETS` names some targets.
const SECONDS: u64 = 50;

/// Targets at a time.
const THREADS: usize = 2;

/// Longest time of one execution. Nothing that small takes longer unless its time grows with the square, or
/// does not end.
const MAX_EXECUTION: Duration = Duration::from_secs(10);

/// Runs of targets under way in this process: the last one that ends tidies up.
static RUNS: Mutex<usize> = Mutex::new(0);

struct Run;

impl Run {
    fn begin() -> Self {
        *RUNS.lock().unwrap() += 1;
        Self
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut runs = RUNS.lock().unwrap();
        *runs -= 1;
        if *runs == 0 {
            fuzz::tidy();
        }
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The seeds by the names of their files.
fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = folder("corpus").join(target.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

fn dictionary(target: &Target) -> String {
    let path = folder("dictionaries").join(format!("{}.dict", target.dictionary));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_seeds_of_every_target_pass() {
    let _run = Run::begin();
    for target in &TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 3, "{} has {} seeds", target.name, seeds.len());
        let mut accepted = 0;
        for (name, seed) in seeds {
            assert!(seed.len() <= 8 << 10, "{}/{name} has {} bytes", target.name, seed.len());
            let passed = catch_unwind(|| (target.run)(&seed));
            accepted += usize::from(passed.unwrap_or_else(|_| panic!("corpus/{}/{name} fails", target.name)));
        }
        assert!(accepted >= 2, "{} accepts {accepted} of its seeds", target.name);
        (target.run)(&[]);
    }
}

#[test]
fn every_target_has_its_program_and_every_folder_its_target() {
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for target in &TARGETS {
        let name = target.name;
        let program = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(
            program.contains(&format!("fuzz_target!(|data: &[u8]| {{\n    fuzz::{name}(data);\n}});")),
            "{program}"
        );
        assert!(
            manifest.contains(&format!(
                "name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\nrequired-features"
            ))
        );
        assert!(Mutator::new(0, &[], &dictionary(target)).words() > 3, "{name} has no words");
    }
    let count = |folder: PathBuf| fs::read_dir(folder).unwrap().count();
    assert_eq!(count(folder("corpus")), TARGETS.len());
    assert_eq!(count(folder("fuzz_targets")), TARGETS.len());
    for entry in fs::read_dir(folder("dictionaries")).unwrap() {
        let name = entry.unwrap().file_name();
        let used = TARGETS.iter().any(|target| *name == *format!("{}.dict", target.dictionary));
        assert!(used, "no target uses {name:?}");
    }
}

/// The figures of one target.
struct Done {
    executions: u64,
    /// Those that the parser accepted.
    accepted: u64,
    longest: Duration,
    /// The input that failed.
    failed: Option<Vec<u8>>,
}

/// An execution under way: its target, its begin and its input.
type Execution = (&'static str, Instant, Vec<u8>);

/// The target that each thread works on, so that a target that hangs can be named.
static NOW: [Mutex<Option<Execution>>; THREADS] = [const { Mutex::new(None) }; THREADS];

fn run(target: &Target, time: Duration, thread: usize) -> Done {
    let seeds: Vec<Vec<u8>> = seeds(target).into_iter().map(|(_, seed)| seed).collect();
    let number = target.name.bytes().fold(0, |number: u64, byte| number.wrapping_mul(31) + u64::from(byte));
    let mut mutator = Mutator::new(number, &seeds, &dictionary(target));
    let mut done = Done { executions: 0, accepted: 0, longest: Duration::ZERO, failed: None };
    let begin = Instant::now();
    let mut began = begin;
    while began - begin < time {
        let input = mutator.next_input();
        *NOW[thread].lock().unwrap() = Some((target.name, began, input.clone()));
        let passed = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        let ended = Instant::now();
        done.executions += 1;
        done.longest = done.longest.max(ended - began);
        match passed {
            Ok(accepted) => done.accepted += u64::from(accepted),
            Err(_) => {
                done.failed = Some(input);
                break;
            }
        }
        began = ended;
    }
    *NOW[thread].lock().unwrap() = None;
    done
}

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let folder = folder("../target/fuzz-smoke");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, input).unwrap();
    path
}

#[test]
#[ignore = "takes a minute; scripts/test calls it as a step of its own"]
fn smoke() {
    let _run = Run::begin();
    let seconds = std::env::var("FERRY_SMOKE_SECONDS").ok().map_or(SECONDS, |text| text.parse().unwrap());
    let only = std::env::var("FERRY_SMOKE_TARGETS").ok();
    let wanted =
        |target: &&Target| only.as_ref().is_none_or(|only| only.split(' ').any(|name| name == target.name));
    let targets: Vec<&'static Target> = TARGETS.iter().filter(wanted).collect();
    assert!(!targets.is_empty(), "no target is named {only:?}");
    let each = Duration::from_secs(seconds * THREADS as u64) / targets.len() as u32;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (sender, results) = channel();
    for thread in 0..THREADS {
        let (sender, targets) = (sender.clone(), targets.clone());
        thread::spawn(move || {
            while let Some(target) = targets.get(NEXT.fetch_add(1, Ordering::Relaxed)) {
                sender.send((*target, run(target, each, thread))).unwrap();
            }
        });
    }
    drop(sender);
    let mut wrong = Vec::new();
    println!("{:<16} {:>10} {:>8} {:>9} {:>10}", "target", "executions", "floor", "accepted", "longest");
    loop {
        match results.recv_timeout(Duration::from_millis(500)) {
            Ok((target, Done { executions, accepted, longest, failed })) => {
                let longest = longest.as_millis();
                println!(
                    "{:<16} {executions:>10} {:>8} {accepted:>9} {longest:>7} ms",
                    target.name, target.floor
                );
                match failed {
                    Some(input) => {
                        wrong.push(format!("{} fails: {}", target.name, keep(target.name, &input).display()));
                    }
                    None if executions < target.floor => {
                        wrong.push(format!(
                            "{} ran {executions} times, {} are wanted",
                            target.name, target.floor
                        ));
                    }
                    None if accepted == 0 => wrong.push(format!("{} accepts nothing", target.name)),
                    None => {}
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                for now in &NOW {
                    let now = now.lock().unwrap().clone();
                    if let Some((name, began, input)) =
                        now.filter(|(_, began, _)| began.elapsed() > MAX_EXECUTION)
                    {
                        let path = keep(name, &input);
                        panic!("{name} takes {:?} for {}", began.elapsed(), path.display());
                    }
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}
