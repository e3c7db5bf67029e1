//! `extends`: a service from another one, of the same file or of another (Compose Specification, "extends").

use super::merge::{self, merge};
use super::{Document, Env, Loader};
use crate::compose::model::FileUse;
use crate::diagnostic::{nearest, shown};
use crate::limits::MAX_COMPOSE_CHAIN;
use crate::paths;
use crate::yaml::{Node, Place, Value};
use std::rc::Rc;

impl Loader<'_> {
    /// The service `name` of `document` with all that it extends. `chain`: files and services on the way.
    pub(super) fn extended(
        &mut self,
        document: &Document,
        name: &str,
        env: &Env,
        chain: &mut Vec<(String, String)>,
    ) -> Option<Node> {
        let services = document.root.get("services")?;
        let node = services.get(name)?;
        chain.push((document.path.clone(), name.to_owned()));
        let Some(extends) = node.get("extends") else { return Some(node.clone()) };
        let (file, base_name) = self.base(extends)?;
        let other = match file {
            Some((path, at)) if path != document.path => Some(self.base_document(&path, at, env)?),
            _ => None,
        };
        let there = other.as_deref().unwrap_or(document);
        if there.root.get("services").and_then(|services| services.get(&base_name)).is_none() {
            let names = there.root.get("services").map(Node::keys).unwrap_or_default();
            let own = (there.path == document.path).then_some(name);
            let hint = match nearest(&base_name, names.into_iter().filter(|other| Some(*other) != own)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add that service there".to_owned(),
            };
            let place =
                if there.path == document.path { String::new() } else { format!(" in {}", there.path) };
            self.r.error(extends, format!("service `{}` does not exist{place}", shown(&base_name)), hint);
            return None;
        }
        let next = (there.path.clone(), base_name.clone());
        if let Some(begin) = chain.iter().position(|seen| *seen == next) {
            let members = chain.get(begin..).unwrap_or_default();
            let mut circle: Vec<&str> = members.iter().map(|(_, name)| name.as_str()).collect();
            circle.push(&base_name);
            let message = format!("services extend each other in a circle: {}", circle.join(" → "));
            // Each service of a circle finds it; it is told once.
            if self.circles.insert(members.iter().cloned().collect()) {
                self.r.error(extends, message, "delete one `extends`");
            }
            return None;
        }
        if chain.len() > MAX_COMPOSE_CHAIN {
            let message = format!("more than {MAX_COMPOSE_CHAIN} services extend each other in a row");
            self.r.error(extends, message, "extend fewer services");
            return None;
        }
        let mut base = self.extended(there, &base_name, env, chain)?;
        // What the base takes away is not there for whoever extends it.
        merge::without_resets(&mut base);
        let over = without_extends(node);
        if !self.charge(&over, &[&base, &over]) {
            return None;
        }
        merge(&mut vec!["services", name], base, over)
    }

    /// The file (with its place) and the service that `extends` names.
    fn base(&mut self, extends: &Node) -> Option<(Option<(String, Place)>, String)> {
        match &extends.value {
            Value::Str(name) => Some((None, name.clone())),
            Value::Map(_) => {
                let (mut file, mut service) = (None, None);
                for (key, node) in self.r.map("extends", extends).into_iter().cloned().collect::<Vec<_>>() {
                    match key.text.as_str() {
                        "file" => {
                            let text = self.r.string("file", &node)?;
                            file = Some((paths::join("", &text), node.place));
                        }
                        "service" => service = self.r.string("service", &node),
                        _ => self.r.unknown_key(&key, "`extends`", &["file", "service"]),
                    }
                }
                if service.is_none() {
                    self.r.error(extends, "`extends` names no service", "write `extends: { service: base }`");
                }
                Some((file, service?))
            }
            _ => {
                let message = format!("expected a service for `extends`, found {}", extends.kind());
                self.r.error(extends, message, "write `extends: { service: base }`");
                None
            }
        }
    }

    fn base_document(&mut self, path: &str, at: Place, env: &Env) -> Option<Rc<Document>> {
        if let Some(known) = self.bases.get(path) {
            return known.clone();
        }
        let document = self.read(path, at, "extends", FileUse::Compose).and_then(|text| {
            let source = self.r.add_source(self.shown_path(path), text);
            self.document(source, path.to_owned(), paths::folder(path), env).map(Rc::new)
        });
        self.bases.insert(path.to_owned(), document.clone());
        document
    }
}

fn without_extends(node: &Node) -> Node {
    let mut copy = node.clone();
    if let Value::Map(entries) = &mut copy.value {
        entries.retain(|(key, _)| key.text != "extends");
    }
    copy
}
