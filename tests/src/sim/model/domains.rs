//! The values that programs put into columns.

use super::super::random::Random;
use super::tables::Domain;
use tt_protocol::value::Value;

impl Domain {
    /// One of its values.
    pub fn pick(self, random: &mut Random) -> Value {
        let word = |word: &str| Value::text(word);
        let small = |random: &mut Random| Value::Integer(random.below(9).cast_signed());
        match self {
            Self::Small => small(random),
            Self::Flag => Value::Integer(random.below(2).cast_signed()),
            Self::Count => match random.below(12) {
                0 => Value::Integer(i64::MAX),
                1 => Value::Integer(i64::MIN + 1),
                2 | 3 => Value::Null,
                4 => word("many"),
                5 => Value::Real(2.5),
                _ => small(random),
            },
            Self::Quarters => Value::Real(random.below(40) as f64 / 4.0),
            Self::Words => match random.below(6) {
                0 => Value::Null,
                1 => Value::Text(vec![0xff, b'x']),
                2 => word("a"),
                3 => word("b"),
                4 => word("c"),
                _ => word(""),
            },
            Self::Names => word(random.pick(&["a", "A", "b", "B", "c"])),
            Self::Anything => random.pick(ANYTHING).value(),
        }
    }
}

/// Values that are easily taken for each other.
#[derive(Clone, Copy)]
enum Odd {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'static str),
    Blob(&'static [u8]),
}

const ANYTHING: &[Odd] = &[
    Odd::Null,
    Odd::Integer(0),
    Odd::Integer(1),
    Odd::Integer(i64::MAX),
    Odd::Integer(i64::MIN),
    Odd::Integer(1 << 53),
    Odd::Real(0.0),
    Odd::Real(-0.0),
    Odd::Real(1.0),
    Odd::Real(0.1),
    Odd::Real(f64::INFINITY),
    Odd::Real(f64::MIN_POSITIVE),
    Odd::Text("1"),
    Odd::Text("a\0b"),
    Odd::Text(""),
    Odd::Blob(b"1"),
    Odd::Blob(b""),
    Odd::Blob(&[0, 0xff]),
];

impl Odd {
    fn value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(value),
            Self::Real(value) => Value::Real(value),
            Self::Text(text) => Value::text(text),
            Self::Blob(bytes) => Value::Blob(bytes.to_vec()),
        }
    }
}
