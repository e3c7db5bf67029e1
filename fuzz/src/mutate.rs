//! Damage to seeds without a compiler's help: the same for the same number, on any machine.
//!
//! The moves are libFuzzer's own (bits, bytes, numbers at their edges, copies, cuts, splices, words of a
//! dictionary), without its feedback. So it goes less deep, and runs where the stable toolchain does.

/// Longest input that is made.
const MAX_BYTES: usize = 64 << 10;

/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 16] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x1ff,
    0x200,
    0x7fff,
    0xffff,
    0x0100_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Makes inputs from seeds.
#[derive(Debug)]
pub struct Mutator<'a> {
    state: u64,
    seeds: &'a [Vec<u8>],
    words: Vec<Vec<u8>>,
}

impl<'a> Mutator<'a> {
    /// A row of inputs that follows from `number`, the seeds and the words of `dictionary` (libFuzzer's format).
    #[must_use]
    pub fn new(number: u64, seeds: &'a [Vec<u8>], dictionary: &str) -> Self {
        Self { state: number, seeds, words: dictionary.lines().filter_map(word).collect() }
    }

    /// Number of words in the dictionary.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words.len()
    }

    /// The next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.seed();
        for _ in 0..=self.below(4) {
            self.damage(&mut input);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn seed(&mut self) -> Vec<u8> {
        let at = self.below(self.seeds.len());
        self.seeds.get(at).cloned().unwrap_or_default()
    }

    fn damage(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(32)).min(input.len());
        match self.below(10) {
            0 => {
                let bit = self.below(8);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            1 => {
                let new = self.random() as u8;
                if let Some(byte) = input.get_mut(at) {
                    *byte = new;
                }
            }
            2 => {
                // An edge, one beside it, or the edge's other byte order.
                let edge = EDGES.get(self.below(EDGES.len())).copied().unwrap_or_default();
                let number = edge.wrapping_add(self.below(3) as u64).wrapping_sub(1);
                let width = 1 << self.below(4);
                let mut bytes = number.to_le_bytes().to_vec();
                bytes.truncate(width);
                if self.below(2) == 0 {
                    bytes.reverse();
                }
                for (place, byte) in input.iter_mut().skip(at).zip(bytes) {
                    *place = byte;
                }
            }
            3 => {
                let edge = EDGES.get(self.below(EDGES.len())).copied().unwrap_or_default();
                let digits = input.iter().skip(at).take_while(|byte| byte.is_ascii_digit()).count();
                input.splice(at..at + digits, edge.to_string().into_bytes());
            }
            4 => drop(input.drain(at.min(end)..end)),
            5 => {
                let copy = input.get(at..end).unwrap_or_default().to_vec();
                let most = if self.below(16) == 0 { 256 } else { 3 };
                let times = 1 + self.below(most);
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy.repeat(times));
            }
            6 => input.truncate(at),
            7 => {
                let other = self.seed();
                let from = self.below(other.len() + 1);
                let tail = other.get(from..).unwrap_or_default();
                let length = self.below(tail.len() + 1);
                let over = if self.below(2) == 0 { end.max(at) } else { at };
                input.splice(at..over, tail.iter().copied().take(length));
            }
            8 if !self.words.is_empty() => {
                let word = self.below(self.words.len());
                let word = self.words.get(word).cloned().unwrap_or_default();
                let over = if self.below(2) == 0 { (at + word.len()).min(input.len()) } else { at };
                input.splice(at..over, word);
            }
            _ => {
                let new = self.random() as u8;
                input.insert(at, new);
            }
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random() % (limit.max(1) as u64)) as usize
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The word of one line, `"text"` or `name="text"`, with `\\`, `\"` and `\xAB` in it.
fn word(line: &str) -> Option<Vec<u8>> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let quoted = line.get(line.find('"')? + 1..)?.strip_suffix('"')?;
    let mut bytes = Vec::new();
    let mut rest = quoted;
    while let Some(first) = rest.chars().next() {
        let hex = rest
            .strip_prefix("\\x")
            .and_then(|hex| hex.get(..2))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let taken = match (hex, rest.strip_prefix('\\').and_then(|rest| rest.chars().next())) {
            (Some(byte), _) => {
                bytes.push(byte);
                4
            }
            (None, Some(escaped @ ('"' | '\\'))) => {
                bytes.push(escaped as u8);
                2
            }
            _ => {
                bytes.extend(first.to_string().bytes());
                first.len_utf8()
            }
        };
        rest = rest.get(taken..)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_makes_the_same_inputs() {
        let seeds = [b"length: 17\n".to_vec(), vec![0; 40]];
        let row = |number| {
            let mut mutator = Mutator::new(number, &seeds, "\"word\"\n");
            (0..200).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
        let all = row(3);
        assert!(all.iter().any(|input| input.windows(4).any(|part| part == b"word")));
        assert!(all.iter().any(Vec::is_empty) && all.iter().any(|input| input.len() > 60));
    }

    #[test]
    fn dictionaries_are_read_as_libfuzzer_does() {
        let words: Vec<_> = "# note\n\nname=\"a\\x00\\xfF\"\n\"\\\\\\\"\"\n\"plain \u{e9}\"\n"
            .lines()
            .filter_map(word)
            .collect();
        assert_eq!(words, [b"a\x00\xff".to_vec(), b"\\\"".to_vec(), "plain \u{e9}".as_bytes().to_vec()]);
    }
}
