//! YAML 1.2 as a tree in which every node knows its line and column.
//!
//! Why not straight into structs: a person gets all mistakes of a file at once, each with its place,
//! and Compose values are interpolated after parsing but before they are typed. Invariants:
//! scalars keep the text as written (`1.10` stays `1.10`, `0644` can still be read as octal), and a
//! hostile text ends in a mistake, not in a full memory: bytes, depth, nodes and the expansion of
//! aliases are bounded. Follows YAML 1.2.2, section 10.3 ("Core Schema"), with two additions
//! that Compose files rely on: merge keys (`<<`, yaml.org/type/merge) and octal numbers as `0644`.

mod reader;
mod scalar;
mod sources;
mod tree;
mod write;

pub(crate) use reader::Reader;
pub(crate) use scalar::{int, leading_zero, number};
pub use sources::Sources;
pub(crate) use tree::compose_documents;
pub(crate) use tree::parse_private;
pub use tree::{parse, parse_compose};
pub use write::write;

/// A text that came out of a template bears this after its file's name, since its lines are not those of the file.
pub(crate) const RENDERED: &str = " (rendered)";

/// A node and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The content.
    pub value: Value,
    /// Where it begins.
    pub place: Place,
    /// How it goes over a value of an earlier file.
    pub merging: Merging,
}

/// How a value goes over that of an earlier file (Compose Specification, "Merge and override").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Merging {
    /// Maps are merged, lists joined, the rest replaced.
    #[default]
    Usual,
    /// `!override`: it replaces the earlier value whole.
    Override,
    /// `!reset`: the earlier value is taken away, and this one is not there either.
    Reset,
}

/// The content of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`; `yes` and `on` are strings.
    Bool(bool),
    /// A whole number and its text as written.
    Int(i64, String),
    /// Another number and its text as written.
    Float(f64, String),
    /// A string.
    Str(String),
    /// A list.
    Seq(Vec<Node>),
    /// A map in the order written, merged keys last. Keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key as text; a number is kept as written.
    pub text: String,
    /// Where it begins.
    pub place: Place,
}

/// A place in one of the texts that are read together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which text: the order in which [`Sources`] got them, from 0.
    pub source: usize,
    /// 1-based line.
    pub line: usize,
    /// 1-based column in characters; 0 means where the line's text begins.
    pub column: usize,
}

impl Place {
    /// The whole line.
    #[must_use]
    pub const fn line(self) -> Self {
        Self { column: 0, ..self }
    }
}

/// A thing that has a place in a text.
pub trait Placed {
    /// The place.
    fn place(&self) -> Place;
}

impl Placed for Node {
    fn place(&self) -> Place {
        self.place
    }
}

impl Placed for Key {
    fn place(&self) -> Place {
        self.place
    }
}

impl Placed for Place {
    fn place(&self) -> Place {
        *self
    }
}

impl Node {
    /// The kind in messages: `a list`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(..) | Value::Float(..) => "a number",
            Value::Str(_) => "a string",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// A scalar's text as written; `None` for lists, maps and nothing.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Int(_, text) | Value::Float(_, text) | Value::Str(text) => Some(text),
            Value::Null | Value::Seq(_) | Value::Map(_) => None,
        }
    }

    /// The value under `key`, where this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The value under `key`, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The keys of a map.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        match &self.value {
            Value::Map(entries) => entries.iter().map(|(key, _)| key.text.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    /// True where both hold the same, wherever it is written.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Seq(a), Value::Seq(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k.text == l.text && a.same(b))
            }
            (a, b) => a == b,
        }
    }

    /// The node as JSON, numbers as numbers.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            // `010` is nobody's 8: what people may have meant as text stays as it was written.
            Value::Int(_, text) if leading_zero(text) => Json::String(text.clone()),
            Value::Int(value, _) => Json::from(*value),
            Value::Float(value, text) => {
                serde_json::Number::from_f64(*value).map_or_else(|| Json::String(text.clone()), Json::Number)
            }
            Value::Str(text) => Json::String(text.clone()),
            Value::Seq(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect())
            }
        }
    }
}
