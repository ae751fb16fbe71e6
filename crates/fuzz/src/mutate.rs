//! How good input is spoiled: by bytes, and by the values of a JSON document.

use serde_json::{Map, Value, json};

/// A small generator of numbers that is the same everywhere (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number under `end`; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}

/// Pieces that readers treat in a way of their own.
const PIECES: [&[u8]; 34] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"true",
    b"-0",
    b"1e400",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"0.1",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xc0\x80",
    b"\xf0\x9f\x98\x80",
    b"\n",
    b"\r\n",
    b"\t",
    b"---\n",
    b"&a ",
    b"*a",
    b"!!binary ",
    b"<<: ",
    b"$patch",
    b"$setElementOrder/",
    b"$retainKeys",
    b"%00",
    b"~1",
    b"k8s\0",
    b"!=",
];
/// Bound of what a mutation may grow an input to.
const MAX_INPUT: usize = 64 << 10;

/// One of the inputs, spoiled at a few places.
pub fn bytes(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut out = random.pick(corpus).cloned().unwrap_or_default();
    for _ in 0..random.below(6) {
        one_place(random, &mut out, corpus);
        out.truncate(MAX_INPUT);
    }
    out
}

fn one_place(random: &mut Random, out: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = random.below(out.len() + 1);
    let end = (at + random.below(16)).min(out.len());
    match random.below(9) {
        0 if at < out.len() => out[at] ^= 1 << random.below(8),
        1 if at < out.len() => out[at] = u8::try_from(random.below(256)).unwrap_or(0),
        2 => drop(out.drain(at..end)),
        3 => {
            let again = out[at..end].to_vec();
            out.splice(at..at, again);
        }
        4 | 5 => {
            let piece = random.pick(&PIECES).copied().unwrap_or_default();
            out.splice(at..at, piece.iter().copied());
        }
        6 => out.truncate(at),
        7 => {
            let other = random.pick(corpus).cloned().unwrap_or_default();
            let from = random.below(other.len() + 1);
            let until = (from + random.below(64)).min(other.len());
            out.splice(at..end, other[from..until].iter().copied());
        }
        _ => {
            // Deep where it was shallow.
            let piece = random.pick(&PIECES).copied().unwrap_or_default();
            let many = piece.repeat(random.below(200));
            out.splice(at..at, many);
        }
    }
}

/// Spoils one place of a document: another type, another number, a member less or more.
pub fn value(random: &mut Random, document: &mut Value) {
    let mut place = document;
    loop {
        let count = match &*place {
            Value::Object(map) => map.len(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        if count == 0 || random.below(4) == 0 {
            break;
        }
        let at = random.below(count);
        place = match place {
            Value::Object(map) => match map.values_mut().nth(at) {
                Some(inner) => inner,
                None => return,
            },
            Value::Array(items) => &mut items[at],
            _ => return,
        };
    }
    spoil(random, place);
}

fn spoil(random: &mut Random, place: &mut Value) {
    let key = random
        .pick(&["name", "x", "", "$patch", "metadata", "kind"])
        .copied()
        .unwrap_or_default();
    match (random.below(6), &mut *place) {
        (0, Value::Object(map)) => {
            let gone = map.keys().nth(random.below(map.len())).cloned();
            gone.map(|key| map.remove(&key));
        }
        (1, Value::Object(map)) => drop(map.insert(key.to_owned(), odd(random))),
        (0, Value::Array(items)) => drop(items.pop()),
        (1, Value::Array(items)) => items.push(items.first().cloned().unwrap_or_else(|| odd(random))),
        _ => *place = odd(random),
    }
}

/// A value that few expect.
fn odd(random: &mut Random) -> Value {
    match random.below(14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(0),
        4 => json!(i64::MAX),
        5 => json!(u64::MAX),
        6 => json!(1e300),
        7 => json!(""),
        8 => json!("a".repeat(random.below(300))),
        9 => json!("1e-99999999999"),
        10 => json!("\u{0}\u{202e}/../%2f"),
        11 => json!([]),
        12 => json!([null, {}, [[]]]),
        _ => Value::Object(Map::new()),
    }
}
