//! The rooms inside each crate, and which may name which: an arrow that is not in the table fails, and so does
//! one that stands there and is not drawn any more.
//!
//! A room is a file or folder of the crate's `src`, or of a folder that is a house of its own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A house: its folder, the path of its module in the crate, and the allowed arrows, a line a room, upper rooms
/// first.
struct House {
    folder: &'static str,
    module: &'static [&'static str],
    table: &'static str,
}

const HOUSES: [House; 6] = [
    House {
        folder: "installer/src",
        module: &[],
        table: "
            main:
            cli:            engine host install installation operate release services trust
            install:        bundle_errors engine host images installation release services trust
            release:        bundle_errors engine host images installation services
            operate:        engine images services
            installation:   engine host
            images:         bundle_errors engine host
            trust:          host
            host:           engine services
            services:       engine
            engine:
            bundle_errors:
        ",
    },
    House {
        folder: "bundler/src",
        module: &[],
        table: "
            main:
            cli:            artifacts cancel inputs read signing sources verbs
            verbs:          artifacts cancel inputs pack read signing sources
            pack:           artifacts cancel inputs read signing sources
            artifacts:      cancel inputs read
            inputs:         read sources
            sources:        cancel read
            signing:
            read:
            cancel:
        ",
    },
    House {
        folder: "bundle-format/src",
        module: &[],
        table: "
            allowed_signers: signature
            check:          bundle error frame read_at seek_table
            pack:           error frame head index seek_table tarball
            read_ahead:     bundle error frame read_at
            slim:           bundle error read_at seek_table
            texts:          bundle error read_at
            bundle:         error frame head index read_at seek_table signature tarball
            head:           error frame
            seek_table:     error frame index
            index:          error frame
            layer:
            signature:      error
            tarball:        error
            frame:          error
            read_at:
            error:
        ",
    },
    House {
        folder: "manifest-schema/src",
        module: &[],
        table: "
            schema:         feature limits manifest
            site:           compose encoding manifest render yaml
            compose:        diagnostic encoding limits order paths quantity yaml
            manifest:       diagnostic feature limits names quantity release render yaml
            render:         diagnostic limits paths
            yaml:           diagnostic limits names
            release:        feature limits
            feature:        limits names
            names:          limits
            diagnostic:
            quantity:
            digest:
            encoding:
            oci:
            order:
            paths:
            progress:
            version:
            limits:
        ",
    },
    House {
        folder: "manifest-schema/src/compose",
        module: &["compose"],
        table: "
            project:        decode load model
            decode:         load model
            load:           model
            model:
        ",
    },
    House {
        folder: "terminal/src",
        module: &[],
        table: "
            confined:
            command_line:   charset failure output
            progress:       drawn human output waiting
            drawn:          charset human waiting
            waiting:        human
            whole_file:     writing
            writing:        disk failure
            failure:        disk human output
            disk:           human
            human:
            output:         charset
            charset:
            engine_client:
        ",
    },
];

/// The table of a house: each room with those that it may name, in the order in which they stand.
fn allowed(table: &str) -> Vec<(String, BTreeSet<String>)> {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (room, names) = line.split_once(':').unwrap();
            (room.to_owned(), names.split_whitespace().map(str::to_owned).collect())
        })
        .collect()
}

/// Each room of a house with the rooms that its product code names.
fn drawn(house: &House) -> BTreeMap<String, BTreeSet<String>> {
    let folder = fixtures::machine::project().join(house.folder);
    let mut files = Vec::new();
    walk(&folder, &mut files);
    let room_of = |path: &Path| {
        let first = path.strip_prefix(&folder).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    let rooms: BTreeSet<String> =
        files.iter().map(|path| room_of(path)).filter(|room| room != "lib").collect();
    let mut drawn: BTreeMap<String, BTreeSet<String>> =
        rooms.iter().map(|room| (room.clone(), BTreeSet::new())).collect();
    for path in files.iter().filter(|path| room_of(path) != "lib") {
        let own = room_of(path);
        let inside = path.strip_prefix(&folder).unwrap().with_extension("");
        let inside = inside.iter().map(|part| part.to_str().unwrap());
        let module: Vec<&str> = house.module.iter().copied().chain(inside).collect();
        for named in paths(&product_code(&fs::read_to_string(path).unwrap()), &module) {
            let house_path: Vec<String> = house.module.iter().map(|part| (*part).to_owned()).collect();
            let Some([room, ..]) = named.strip_prefix(&house_path[..]) else { continue };
            if *room != own && rooms.contains(room) {
                drawn.get_mut(&own).unwrap().insert(room.clone());
            }
        }
    }
    drawn
}

fn walk(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            walk(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Code without comments and without the tests, which stand at the end of a file.
fn product_code(text: &str) -> String {
    let end = text.find("\n#[cfg(test)]").or_else(|| text.find("\n#[cfg(all(test")).unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths of a module's code that begin at the crate: `crate::a::b`, with `super` resolved and braces opened.
/// `module` is the path of the module that the code stands in.
fn paths(code: &str, module: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            open(&code[at..], &[], &mut found);
        }
    }
    let resolved = found.into_iter().map(|path| {
        let ups = path.iter().take_while(|part| *part == "super").count();
        let above = match ups {
            0 => &[][..],
            ups => &module[..module.len().saturating_sub(ups)],
        };
        let rest = path.iter().skip(ups.max(1)).cloned();
        above.iter().map(|part| (*part).to_owned()).chain(rest).collect()
    });
    resolved.collect()
}

/// Opens one tree of paths: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn open(text: &str, above: &[String], found: &mut Vec<Vec<String>>) {
    let text = text.trim_start();
    let word: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    if let Some(inside) = text.strip_prefix('{') {
        let (mut depth, mut begin) = (0, 0);
        for (index, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    open(&inside[begin..index], above, found);
                    begin = index + 1;
                    if c == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let path = [above, std::slice::from_ref(&word)].concat();
    match text[word.len()..].strip_prefix("::") {
        Some(rest) if !word.is_empty() => open(rest, &path, found),
        _ => found.push(path),
    }
}

/// `cli -> install` for each arrow.
fn arrows<'a>(names: impl IntoIterator<Item = (&'a String, &'a BTreeSet<String>)>) -> BTreeSet<String> {
    let each = |(room, names): (&String, &'a BTreeSet<String>)| {
        let room = room.clone();
        names.iter().map(move |name| format!("{room} -> {name}"))
    };
    names.into_iter().flat_map(each).collect()
}

#[test]
fn rooms_name_those_below_them_as_the_table_says() {
    let mut wrong = Vec::new();
    for house in HOUSES {
        let (table, drawn) = (allowed(house.table), drawn(&house));
        let mut above = BTreeSet::new();
        for (room, names) in &table {
            above.insert(room.clone());
            let up: Vec<_> = names.intersection(&above).collect();
            assert!(
                up.is_empty(),
                "{}: the table lets {room} name {up:?}, which stand above it",
                house.folder
            );
        }
        let rooms: BTreeSet<&String> = table.iter().map(|(room, _)| room).collect();
        assert_eq!(drawn.keys().collect::<BTreeSet<_>>(), rooms, "{}: rooms", house.folder);
        let (drawn, table) = (arrows(&drawn), arrows(table.iter().map(|(room, names)| (room, names))));
        let (new, gone): (Vec<_>, Vec<_>) =
            (drawn.difference(&table).collect(), table.difference(&drawn).collect());
        wrong.extend(new.iter().map(|arrow| format!("{}: not in the table: {arrow}", house.folder)));
        wrong.extend(gone.iter().map(|arrow| format!("{}: not drawn any more: {arrow}", house.folder)));
        println!("{}: {} rooms, {} arrows", house.folder, rooms.len(), drawn.len());
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn paths_are_found_in_every_form() {
    let code = "use crate::a::X;\nuse crate::{b, c::{d, e::F}};\nlet x = super::g::y(); // crate::z\n\
                use super::super::h;\nmycrate::no();";
    let found = paths(&product_code(code), &["m", "n", "o"]);
    let found: BTreeSet<String> = found.iter().map(|path| path.join("::")).collect();
    let expected = ["a::X", "b", "c::d", "c::e::F", "m::h", "m::n::g::y"];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
