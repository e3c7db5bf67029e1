//! docs/COMPOSE.md against the parser: each row's example is parsed, and what happens, and why, must
//! be what the row says.

#[cfg(test)]
mod book {
    use manifest_schema::compose;
    use std::collections::{BTreeMap, BTreeSet};

    struct Row {
        section: String,
        template: String,
        example: String,
        outcome: String,
        why: String,
    }

    fn rows() -> Vec<Row> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/COMPOSE.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (mut section, mut template, mut rows) = (String::new(), String::new(), Vec::new());
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                section = title.to_owned();
            } else if let Some(rest) = line.strip_prefix("<!-- in: ") {
                template = rest.strip_suffix(" -->").unwrap().replace("; ", "\n");
            } else if line.starts_with("| `") {
                let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
                let [example, outcome, why] = cells[..] else { panic!("three cells in {line}") };
                rows.push(Row {
                    section: section.clone(),
                    template: template.clone(),
                    example: example.trim_matches('`').to_owned(),
                    outcome: outcome.to_owned(),
                    why: why.to_owned(),
                });
            }
        }
        rows
    }

    #[test]
    fn every_example_does_what_its_row_says() {
        let env = BTreeMap::from([("NAME".to_owned(), "value".to_owned())]);
        let load = |name: &str| match name {
            "a.env" => Some(b"A=1\n".to_vec()),
            "b.yaml" => Some(b"services: { included: { image: a } }\n".to_vec()),
            _ => None,
        };
        let rows = rows();
        assert!(rows.len() > 150, "{}", rows.len());
        let mut wrong = Vec::new();
        for Row { section, template, example, outcome, why } in rows {
            // A key that the example sets must not stand twice.
            let key = example.split(':').next().unwrap();
            let text = template.replace('@', &example).replace("image: a, image:", "image:");
            let text = if section.contains("long form") && key == "type" {
                text.replace("type: volume, ", "")
            } else {
                text
            };
            let parsed = compose::parse(&[compose::Text { file: "compose.yaml", text: &text }], &env, &load);
            let found = match (&parsed, outcome.as_str()) {
                (Ok(parsed), "read") => {
                    !parsed.warnings.iter().any(|warning| warning.message.ends_with("is ignored"))
                }
                (Ok(parsed), "ignored") => parsed.warnings.iter().any(|warning| {
                    warning.message == format!("`{key}` is ignored") && warning.hint.as_deref() == Some(&why)
                }),
                (Err(mistakes), "refused") => mistakes.0.len() == 1 && mistakes.to_string().contains(&why),
                _ => false,
            };
            if !found {
                let happened = match parsed {
                    Ok(parsed) => format!("read, warnings {:?}", parsed.warnings),
                    Err(mistakes) => mistakes.to_string(),
                };
                wrong.push(format!("{section}: `{example}` is not {outcome} ({why}): {happened}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }

    /// The parser's own lists of a service's keys.
    #[test]
    fn every_key_of_a_service_stands_in_the_table() {
        let source = include_str!("../src/compose/decode/service.rs");
        let (_, lists) = source.split_once("const KEYS").unwrap();
        let (lists, _) = lists.split_once("/// Reads the service").unwrap();
        let is_key =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        // Of a pair the first is the key: its hint holds spaces.
        let known: BTreeSet<&str> = lists.split('"').skip(1).step_by(2).filter(|text| is_key(text)).collect();
        assert!(known.len() > 80, "{}", known.len());
        let rows = rows();
        let listed: BTreeSet<&str> = rows
            .iter()
            .filter(|row| row.section == "A service")
            .map(|row| row.example.split(':').next().unwrap())
            .collect();
        assert_eq!(known, listed);
    }

    /// The specification's own list, without what stands below keys that are ignored or refused whole.
    #[test]
    fn every_key_of_the_specification_stands_in_a_table() {
        let rows = rows();
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let words: BTreeSet<&str> = rows
            .iter()
            .flat_map(|row| [&row.example, &row.why])
            .flat_map(|cell| cell.split(|c| !is_word(c)))
            .collect();
        // The innermost key of an example: `{ reservations: { generic_resources: []`.
        let whole: BTreeSet<&str> = rows
            .iter()
            .filter(|row| row.outcome != "read")
            .filter_map(|row| row.example.split(['[', '}']).next()?.rsplit_once(':'))
            .filter_map(|(keys, _)| keys.rsplit(|c| !is_word(c)).next())
            .collect();
        let keys: Vec<&str> =
            include_str!("compose_keys.txt").lines().filter(|line| !line.starts_with('#')).collect();
        assert!(keys.len() > 250, "{}", keys.len());
        let missing: Vec<&&str> = keys
            .iter()
            .filter(|key| {
                let parts: Vec<&str> = key.split('.').skip(1).collect();
                let (last, above) = parts.split_last().unwrap();
                !words.contains(last) && !above.iter().any(|part| whole.contains(part))
            })
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn keys_of_ones_own_are_allowed_and_unknown_ones_are_not() {
        let load = |_: &str| None;
        let parse = |text: &str| {
            compose::parse(&[compose::Text { file: "compose.yaml", text }], &BTreeMap::new(), &load)
        };
        let own = parse("x-mine: 1\nservices: { a: { image: a, x-mine: 2 } }\n").unwrap();
        assert!(own.warnings.is_empty(), "{:?}", own.warnings);
        let unknown = parse("services: { a: { image: a, mine: 2 } }\n").unwrap_err();
        assert!(unknown.to_string().contains("unknown key `mine`"), "{unknown}");
    }
}
