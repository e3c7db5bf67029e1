//! From parser events to the tree: anchors, aliases, merge keys, duplicate keys, budgets.
//!
//! Attacks met here: deep nesting (the parser's own limits and ours; the builder keeps its stack on
//! the heap), alias bombs (each alias is charged with every node and byte it copies), a node that
//! contains itself (an alias to an anchor that is still open is refused), huge scalars.

mod hints;

use super::RENDERED;
use super::{Key, Merging, Node, Place, Sources, Value, scalar};
use crate::diagnostic::{lines, shown};
use crate::limits::MAX_EXPANDED_BYTES;
use crate::{Diagnostic, limits};
use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// Reads one YAML document. An empty text is [`Value::Null`].
///
/// # Errors
/// The first mistake of syntax, with its place, the line and a hint.
pub fn parse(file: &str, text: &str) -> Result<Node, Diagnostic> {
    read(Text { source: 0, file, text, merge_tags: false, private: false, may_cut: false })
        .map(|(documents, _)| only(documents))
}

/// Reads one YAML document that may hold secrets: the message of a mistake repeats nothing that the text
/// holds, but its line still does.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_private(file: &str, text: &str) -> Result<Node, Diagnostic> {
    read(Text { source: 0, file, text, merge_tags: false, private: true, may_cut: false })
        .map(|(documents, _)| only(documents))
}

/// The one document of a text that may have no more.
fn only(mut documents: Vec<Node>) -> Node {
    documents.swap_remove(0)
}

/// Reads the documents of one of several texts, at least one, in which `!override` and `!reset` may stand (Compose
/// Specification, "Merge and override").
///
/// # Errors
/// As [`parse`].
pub fn parse_compose(sources: &Sources, source: usize) -> Result<Vec<Node>, Diagnostic> {
    compose_documents(sources, source, true).map(|(documents, _)| documents)
}

/// As [`parse_compose`]; true where a block text at the end has no line break, as the file has none, which it only `may`.
pub(crate) fn compose_documents(
    sources: &Sources,
    source: usize,
    may: bool,
) -> Result<(Vec<Node>, bool), Diagnostic> {
    read(Text {
        source,
        file: sources.file(source),
        text: sources.text(source),
        merge_tags: true,
        private: false,
        may_cut: may,
    })
}

/// A text and how it is read.
#[derive(Clone, Copy)]
struct Text<'t> {
    source: usize,
    file: &'t str,
    text: &'t str,
    merge_tags: bool,
    /// Keeps the content out of messages.
    private: bool,
    /// A block text at the end may have no line break.
    may_cut: bool,
}

/// All documents, at least one, and true where a block text was cut.
fn read(input: Text<'_>) -> Result<(Vec<Node>, bool), Diagnostic> {
    let Text { source, file, text, .. } = input;
    if text.len() > limits::MAX_YAML_BYTES {
        return Err(Diagnostic::new(
            file,
            format!("the file has {} bytes; at most {} are read", text.len(), limits::MAX_YAML_BYTES),
        )
        .hint("move large values into files of their own"));
    }
    if let Some((line, column)) = lines(text).enumerate().find_map(|(index, line)| {
        let column = line.chars().position(|c| c == '\0')?;
        Some((index + 1, column + 1))
    }) {
        return Err(Diagnostic::new(file, "the file holds a NUL character; it is not text")
            .at(text, line, column)
            .hint("save it as UTF-8"));
    }
    let options = granit_parser::options! {
        flow_nesting_limit: limits::MAX_YAML_DEPTH,
        block_nesting_limit: limits::MAX_YAML_DEPTH,
        emit_comments: false,
    };
    let mut builder = Builder::new(input);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| builder.syntax(&error))?;
        builder.take(event, span)?;
    }
    let (mut documents, is_cut) = (builder.earlier, builder.is_cut);
    documents.extend(builder.root);
    if documents.is_empty() {
        let place = Place { source, line: 1, column: 1 };
        documents.push(Node { value: Value::Null, place, merging: Merging::Usual });
    }
    Ok((documents, is_cut))
}

struct Builder<'t> {
    input: Text<'t>,
    /// The last line and the column behind it.
    last: (usize, usize),
    stack: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    root: Option<Node>,
    /// The documents before it.
    earlier: Vec<Node>,
    documents: usize,
    nodes: usize,
    bytes: usize,
    /// Characters of the text.
    characters: usize,
    /// A block text lost a line break that only the parser gave it.
    is_cut: bool,
}

/// A finished anchored node and what copying it costs.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
    height: usize,
}

/// A list or map that is not finished.
struct Open {
    anchor: usize,
    place: Place,
    merging: Merging,
    nodes_before: usize,
    bytes_before: usize,
    /// Levels of lists and maps inside, so that aliases cannot nest past the limit.
    height: usize,
    content: Content,
}

enum Content {
    Seq(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        seen: BTreeMap<String, usize>,
        key: Option<Key>,
        merges: Vec<(Key, Node)>,
    },
}

impl<'t> Builder<'t> {
    fn new(input: Text<'t>) -> Self {
        let end =
            lines(input.text).enumerate().last().map(|(index, line)| (index + 1, line.chars().count() + 1));
        Self {
            input,
            last: end.unwrap_or((1, 1)),
            stack: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            earlier: Vec::new(),
            documents: 0,
            nodes: 0,
            bytes: 0,
            characters: input.text.chars().count(),
            is_cut: false,
        }
    }

    /// The place of a parser's mark. The end of the text is on the last line that exists.
    fn place(&self, mark: &Marker) -> Place {
        let (line, column) = match mark.line() > self.last.0 {
            true => self.last,
            false => (mark.line().max(1), mark.col() + 1),
        };
        Place { source: self.input.source, line, column }
    }

    fn at(&self, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.input.file, message).at(self.input.text, place.line, place.column)
    }

    fn syntax(&self, error: &granit_parser::ScanError) -> Diagnostic {
        let at = self.place(error.marker());
        let info = error.info();
        let mut message = info.trim().to_owned();
        if let Some(first) = message.get(..1) {
            let first = first.to_lowercase();
            message.replace_range(..1, &first);
        }
        let source = lines(self.input.text).nth(at.line.saturating_sub(1)).unwrap_or_default();
        let hint = self.template_hint(source).unwrap_or_else(|| hints::syntax_hint(&message, source));
        // What the parser says may name what stands there.
        let message = if self.input.private { String::new() } else { format!(": {}", shown(&message)) };
        self.at(at, format!("not valid YAML{message}")).hint(hint)
    }

    /// A Compose file with Jinja in it has not the name of a template.
    fn template_hint(&self, line: &str) -> Option<&'static str> {
        let jinja = line.contains("{{") || line.contains("{%");
        (self.input.merge_tags && jinja && !self.input.file.ends_with(RENDERED)).then_some(TEMPLATE)
    }

    fn too_deep(&self, at: Place) -> Diagnostic {
        self.at(at, format!("lists and maps are nested more than {} deep", limits::MAX_YAML_DEPTH))
    }

    fn charge(&mut self, at: Place, nodes: usize, bytes: usize) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > limits::MAX_YAML_NODES {
            return Err(self
                .at(at, format!("the file has more than {} values, aliases expanded", limits::MAX_YAML_NODES))
                .hint("aliases of aliases multiply; write fewer of them"));
        }
        if self.bytes > MAX_EXPANDED_BYTES {
            return Err(self
                .at(at, format!("the file has more than {MAX_EXPANDED_BYTES} bytes, aliases expanded"))
                .hint("aliases of long values multiply; write fewer of them"));
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        let at = self.place(&span.start);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                // An anchor holds in its document.
                self.anchors.clear();
                self.earlier.extend(self.root.take());
                if self.documents > 1 && !self.input.merge_tags {
                    return Err(self
                        .at(at, "a second document begins here")
                        .hint("keep one document in the file: delete the `---` and what follows"));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let (nodes, bytes) = (self.nodes, self.bytes);
                self.charge(at, 1, text.len())?;
                let (merging, tag) = self.merging(tag.as_deref());
                let text = self.as_it_ends(text, style, &span);
                let value = self.scalar(at, text, style, tag)?;
                self.finish(Node { value, place: at, merging }, anchor, nodes, bytes, 0)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(at, anchor, tag.as_deref(), "seq", Content::Seq(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    seen: BTreeMap::new(),
                    key: None,
                    merges: Vec::new(),
                };
                self.open(at, anchor, tag.as_deref(), "map", content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => {
                let Some((nodes, bytes, height)) =
                    self.anchors.get(&id).map(|anchored| (anchored.nodes, anchored.bytes, anchored.height))
                else {
                    return Err(self
                        .at(at, "the alias lies inside the value that it names")
                        .hint("a value cannot contain itself"));
                };
                if self.stack.len() + height > limits::MAX_YAML_DEPTH {
                    return Err(self.too_deep(at));
                }
                self.charge(at, nodes, bytes)?;
                match self.anchors.get(&id).map(|anchored| anchored.node.clone()) {
                    Some(node) => self.put(node, at, height),
                    None => Ok(()),
                }
            }
            // Stream and document ends, and events this parser was not asked for.
            _ => Ok(()),
        }
    }

    /// A block text at the very end of a Compose file ends as the file does, with or without a line break.
    fn as_it_ends<'e>(&mut self, text: Cow<'e, str>, style: ScalarStyle, span: &Span) -> Cow<'e, str> {
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let is_last = span.end.index() >= self.characters && !self.input.text.ends_with(['\n', '\r']);
        match text.strip_suffix('\n') {
            Some(cut) if self.input.may_cut && is_block && is_last => {
                self.is_cut = true;
                Cow::Owned(cut.to_owned())
            }
            _ => text,
        }
    }

    fn open(
        &mut self,
        at: Place,
        anchor: usize,
        tag: Option<&Tag>,
        core: &str,
        content: Content,
    ) -> Result<(), Diagnostic> {
        let (merging, tag) = self.merging(tag);
        if let Some(tag) = tag
            && !tag.is_yaml_core_schema_tag(core)
        {
            return Err(self.unknown_tag(at, tag));
        }
        if self.stack.len() >= limits::MAX_YAML_DEPTH {
            return Err(self.too_deep(at));
        }
        let (nodes_before, bytes_before) = (self.nodes, self.bytes);
        self.charge(at, 1, 0)?;
        self.stack.push(Open { anchor, place: at, merging, nodes_before, bytes_before, height: 0, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Diagnostic> {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let value = match open.content {
            Content::Seq(items) => Value::Seq(items),
            Content::Map { mut entries, mut seen, merges, .. } => {
                for (key, node) in merges {
                    self.merge(&key, node, &mut entries, &mut seen)?;
                }
                Value::Map(entries)
            }
        };
        let node = Node { value, place: open.place, merging: open.merging };
        self.finish(node, open.anchor, open.nodes_before, open.bytes_before, open.height + 1)
    }

    /// Adds what `<<` names where the map itself has no such key; the first of a list wins.
    fn merge(
        &self,
        key: &Key,
        node: Node,
        entries: &mut Vec<(Key, Node)>,
        seen: &mut BTreeMap<String, usize>,
    ) -> Result<(), Diagnostic> {
        let maps = match node.value {
            Value::Seq(items) => items,
            _ => vec![node],
        };
        for map in maps {
            let Value::Map(merged) = map.value else {
                return Err(self
                    .at(key.place, format!("`<<` merges maps, found {}", map.kind()))
                    .hint("write `<<: *name`, where `&name` marks a map"));
            };
            for (key, node) in merged {
                if !seen.contains_key(&key.text) {
                    seen.insert(key.text.clone(), key.place.line);
                    entries.push((key, node));
                }
            }
        }
        Ok(())
    }

    /// Remembers an anchored node, then puts it where it belongs.
    fn finish(
        &mut self,
        node: Node,
        anchor: usize,
        nodes_before: usize,
        bytes_before: usize,
        height: usize,
    ) -> Result<(), Diagnostic> {
        let at = node.place;
        if anchor != 0 {
            let (nodes, bytes) = (self.nodes - nodes_before, self.bytes - bytes_before);
            // The copy kept for aliases counts too: anchors may be nested in anchors.
            self.charge(at, nodes, bytes)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, bytes, height });
        }
        self.put(node, at, height)
    }

    /// Puts a finished node into the innermost open list or map. `at` is where it is used.
    fn put(&mut self, node: Node, at: Place, height: usize) -> Result<(), Diagnostic> {
        if let Some(open) = self.stack.last_mut() {
            open.height = open.height.max(height);
        }
        match self.stack.last_mut().map(|open| &mut open.content) {
            None => {
                self.root = Some(node);
                Ok(())
            }
            Some(Content::Seq(items)) => {
                items.push(node);
                Ok(())
            }
            Some(Content::Map { entries, seen, key, merges }) => match key.take() {
                Some(found) if found.text == "<<" => {
                    merges.push((found, node));
                    Ok(())
                }
                Some(found) => {
                    entries.push((found, node));
                    Ok(())
                }
                None => {
                    let Some(text) = node.text().map(str::to_owned) else {
                        let message = format!("a key must be a single word or text, found {}", node.kind());
                        let line = lines(self.input.text).nth(at.line.saturating_sub(1)).unwrap_or_default();
                        let hint = self.template_hint(line).unwrap_or("write the key in quotes");
                        return Err(self.at(at, message).hint(hint));
                    };
                    if let Some(first) = seen.insert(text.clone(), at.line) {
                        // At the top they are names, which are no secrets.
                        let named = match self.input.private && self.stack.len() > 1 {
                            true => "a key".to_owned(),
                            false => format!("key `{}`", shown(&text)),
                        };
                        let message = format!("{named} is written twice; the first is on line {first}");
                        return Err(self.at(at, message).hint("keep one of them"));
                    }
                    *key = Some(Key { text, place: at });
                    Ok(())
                }
            },
        }
    }

    fn scalar(
        &self,
        at: Place,
        text: Cow<'_, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
    ) -> Result<Value, Diagnostic> {
        let Some(tag) = tag else {
            return Ok(if style == ScalarStyle::Plain {
                scalar::plain(&text)
            } else {
                Value::Str(text.into_owned())
            });
        };
        let value = match tag.core_suffix() {
            Some("str") => Some(Value::Str(text.to_string())),
            Some("int") => scalar::int(&text).map(|value| Value::Int(value, text.to_string())),
            Some("float") => scalar::float(&text).map(|value| Value::Float(value, text.to_string())),
            Some("bool" | "null") => match scalar::plain(&text) {
                value @ (Value::Bool(_) | Value::Null) => Some(value),
                _ => None,
            },
            _ if tag.original() == "!" => Some(Value::Str(text.to_string())),
            _ => return Err(self.unknown_tag(at, tag)),
        };
        value.ok_or_else(|| {
            let tag = shown(&tag.original());
            let message = match self.input.private {
                true => "the value does not fit its tag".to_owned(),
                false => format!("`{}` does not fit its tag `{tag}`", shown(&text)),
            };
            self.at(at, message).hint("delete the tag, or write a value of that kind")
        })
    }

    /// How the value goes over an earlier one, and the tag where it says something else.
    fn merging<'g>(&self, tag: Option<&'g Tag>) -> (Merging, Option<&'g Tag>) {
        let original = tag.filter(|_| self.input.merge_tags).map(Tag::original);
        match original.as_deref() {
            Some("!override") => (Merging::Override, None),
            Some("!reset") => (Merging::Reset, None),
            _ => (Merging::Usual, tag),
        }
    }

    fn unknown_tag(&self, at: Place, tag: &Tag) -> Diagnostic {
        let message = match self.input.private {
            true => "this tag is not supported here".to_owned(),
            false => format!("the tag `{}` is not supported here", shown(&tag.original())),
        };
        self.at(at, message).hint("delete the tag and write the value itself")
    }
}

/// The hint for Jinja in a file that is not rendered.
const TEMPLATE: &str = "name the file with `.j2` at its end, like compose.yaml.j2, here and where the manifest names it: then it is rendered";

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
