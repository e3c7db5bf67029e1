//! YAML 1.2 as a tree in which every node knows its line and column.
//!
//! Why not straight into structs: a person gets all mistakes of a file at once, each with its place,
//! and Compose values are interpolated after parsing but before they are typed. What must stay true:
//! scalars keep the text as written (`1.10` stays `1.10`, `0644` can still be read as octal), and a
//! hostile text ends in a mistake, not in a full memory: bytes, depth, nodes and the expansion of
//! aliases are bounded. Follows YAML 1.2.2, section 10.3 ("Core Schema"), with two additions
//! that Compose files rely on: merge keys (`<<`, yaml.org/type/merge) and octal numbers as `0644`.

mod reader;
mod scalar;
mod tree;

pub(crate) use reader::shown;
pub use reader::{Reader, nearest};
pub use tree::parse;

/// A node and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it holds.
    pub value: Value,
    /// 1-based line.
    pub line: usize,
    /// 1-based column in characters.
    pub column: usize,
}

/// What a node holds.
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
    /// 1-based line.
    pub line: usize,
    /// 1-based column in characters.
    pub column: usize,
}

/// A place in a text.
pub trait Place {
    /// 1-based line and column.
    fn place(&self) -> (usize, usize);
}

impl Place for Node {
    fn place(&self) -> (usize, usize) {
        (self.line, self.column)
    }
}

impl Place for Key {
    fn place(&self) -> (usize, usize) {
        (self.line, self.column)
    }
}

impl Place for (usize, usize) {
    fn place(&self) -> (usize, usize) {
        *self
    }
}

impl Node {
    /// What it is, for messages: `a list`.
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

    /// The node as JSON, numbers as numbers.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
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
