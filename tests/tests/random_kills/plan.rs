//! Chances of a round, drawn from the seed and the round's number alone, so that a round can be asked for again.

use std::fmt;
use std::time::Duration;

/// Numbers that look random and come again for the same seed (splitmix64).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The numbers of one round.
    pub(crate) fn of_round(seed: u64, round: u64) -> Self {
        let mut mixed = Self(seed ^ round.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let _ = mixed.next();
        mixed
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `count` numbers from 0 on.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        self.next() % count.max(1)
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn happens(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The command that a person gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    /// A first install.
    First,
    /// An install of the next version.
    Upgrade,
    /// An install of a version that does not come up, so that it is rolled back.
    Failing,
    /// Another answer.
    Reconfigure,
    /// An uninstall that keeps the volumes.
    Uninstall,
    /// An uninstall with the volumes.
    Purge,
}

impl Operation {
    /// It begins with nothing installed.
    pub(crate) fn needs_nothing(self) -> bool {
        self == Self::First
    }

    /// It ends with nothing installed.
    pub(crate) fn leaves_nothing(self) -> bool {
        matches!(self, Self::Uninstall | Self::Purge)
    }

    fn draw(chance: &mut Chance, installed: bool) -> Self {
        if !installed {
            return Self::First;
        }
        match chance.below(100) {
            0..27 => Self::Upgrade,
            27..37 => Self::Failing,
            37..64 => Self::Reconfigure,
            64..82 => Self::Uninstall,
            _ => Self::Purge,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::First => "first install",
            Self::Upgrade => "upgrade",
            Self::Failing => "upgrade that fails",
            Self::Reconfigure => "reconfigure",
            Self::Uninstall => "uninstall",
            Self::Purge => "uninstall --volumes",
        })
    }
}

/// The victim of a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The installer.
    Installer,
    /// `dockerd` with its containerd. Shims and containers run on, as after a crash.
    Engine,
    /// `dockerd`, containerd and all shims, as when memory runs out.
    EngineAndShims,
}

impl Victim {
    pub(crate) fn is_engine(self) -> bool {
        self != Self::Installer
    }
}

/// The instant at which the blow falls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Instant {
    /// After so many thousandths of the time that the operation takes.
    Share(u64),
    /// So long after one of its events; the number is taken modulo their count.
    Event(u64, Duration),
    /// So long after the next of its records in the journal, the number of which is taken modulo their count.
    Record(u64, Duration),
    /// As it enters one of these system calls for the so-manieth time, which is taken modulo their count.
    Call(&'static str, u64),
}

/// Calls that make a change last, or ask the engine for one, by what they do; `?` before those that not every processor
/// has.
const CALLS: [&str; 6] = [
    "?rename,?renameat,renameat2",
    "fsync,fdatasync",
    "?unlink,unlinkat,?rmdir",
    "?mkdir,mkdirat",
    "linkat,?symlink,symlinkat",
    "writev,sendto",
];

impl Instant {
    fn draw(chance: &mut Chance) -> Self {
        let soon = |chance: &mut Chance| Duration::from_micros(chance.below(30_000));
        match chance.below(100) {
            0..20 => Self::Share(chance.below(1050)),
            // The switch, the commit and what comes after them.
            20..35 => Self::Share(600 + chance.below(450)),
            35..55 => Self::Event(chance.below(1000), soon(chance)),
            55..75 => Self::Record(chance.below(1000), soon(chance)),
            _ => Self::Call(CALLS[chance.below(CALLS.len() as u64) as usize], chance.below(1000)),
        }
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "after {share} thousandths of its time"),
            Self::Event(number, delay) => write!(f, "{delay:?} after its event {number}"),
            Self::Record(number, delay) => write!(f, "{delay:?} after its record {number}"),
            Self::Call(call, number) => write!(f, "at its {call} {number}"),
        }
    }
}

/// The command after the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The same again.
    Same,
    /// Something else: the old version, to remove what was begun, to install what was being removed, a third answer.
    Other,
}

/// A round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) round: u64,
    pub(crate) operation: Operation,
    pub(crate) victim: Victim,
    pub(crate) instant: Instant,
    /// The engine is killed too, once the installer was.
    pub(crate) engine_then: bool,
    /// The recovery is killed too.
    pub(crate) again: Option<Instant>,
    pub(crate) after: After,
}

/// Percentage of rounds that kill the engine.
const ENGINE_SHARE: u64 = 20;

/// The rounds of a seed, without end.
pub(crate) fn rounds(seed: u64) -> impl Iterator<Item = Plan> {
    let mut installed = false;
    (0..).map(move |round| {
        let mut chance = Chance::of_round(seed, round);
        let operation = Operation::draw(&mut chance, installed);
        let victim = match chance.happens(ENGINE_SHARE) {
            false => Victim::Installer,
            true if chance.happens(20) => Victim::EngineAndShims,
            true => Victim::Engine,
        };
        let mut instant = Instant::draw(&mut chance);
        if let (true, Instant::Call(_, number)) = (victim.is_engine(), instant) {
            instant = Instant::Share(number);
        }
        let engine_then = victim == Victim::Installer && chance.happens(5);
        let again = chance.happens(25).then(|| Instant::draw(&mut chance));
        let after = if chance.happens(25) { After::Other } else { After::Same };
        installed = match (operation, after) {
            (Operation::First | Operation::Uninstall | Operation::Purge, After::Other) => installed,
            _ => !operation.leaves_nothing(),
        };
        Plan { round, operation, victim, instant, engine_then, again, after }
    })
}
