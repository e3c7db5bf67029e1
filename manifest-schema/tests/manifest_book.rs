//! docs/MANIFEST.md against the parser and the schema: its examples are read, and every key stands in it.

#[cfg(test)]
mod book {
    use manifest_schema::manifest::Manifest;
    use manifest_schema::schema;

    fn text() -> String {
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/MANIFEST.md")).unwrap()
    }

    #[test]
    fn every_example_is_read() {
        let text = text();
        let examples: Vec<&str> =
            text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(examples.len() >= 6, "{}", examples.len());
        for example in examples {
            // An example of version 2 says so.
            let ferry = if example.starts_with("ferry: ") { "" } else { "ferry: 1\n" };
            let whole = format!("name: a\nversion: 1\n{ferry}{example}");
            Manifest::parse("MANIFEST.md", &whole).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn every_key_stands_in_it() {
        let text = text();
        let schema = schema::manifest();
        let variable = &schema["properties"]["variables"]["additionalProperties"];
        let volume = &schema["properties"]["volumes"]["additionalProperties"];
        let requires = &schema["properties"]["requires"];
        for keys in [&schema, variable, volume, requires].map(|owner| &owner["properties"]) {
            for key in keys.as_object().unwrap().keys() {
                assert!(text.contains(&format!("`{key}")) || text.contains(&format!("{key}:")), "{key}");
            }
        }
        for kind in variable["properties"]["type"]["enum"].as_array().unwrap() {
            assert!(text.contains(&format!("`{}`", kind.as_str().unwrap())), "{kind}");
        }
    }
}
