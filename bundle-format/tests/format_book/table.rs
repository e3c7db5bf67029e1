//! FORMAT.md, section 13.

/// The book itself: every sentence has a test, and every test that is named exists.
#[test]
fn every_sentence_names_a_test_that_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("FORMAT.md")).unwrap();
    let (promises, table) = text.split_once("\n## 13.").expect("the table of tests");
    let number = |text: &str| {
        let (section, sentence) = text.split_once('.').unwrap_or_default();
        (section.parse::<u32>().ok()).zip(sentence.parse::<u32>().ok())
    };
    let sentences: Vec<_> = promises.split("**").skip(1).step_by(2).filter_map(number).collect();
    assert!(sentences.len() > 60, "{}", sentences.len());
    let mut tested = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (numbers, tests) = (cells.next().unwrap(), cells.next().unwrap());
        tested.extend(numbers.split(", ").map(|text| number(text).unwrap_or_else(|| panic!("{row}"))));
        for test in tests.split(", ") {
            let (file, name) = test.trim_matches('`').split_once("::").unwrap_or_else(|| panic!("{row}"));
            let folders = ["tests", "src", "../bundler/tests", "../tests/tests"];
            let places = folders.map(|folder| root.join(folder).join(format!("{file}.rs")));
            let source = places.iter().find_map(|place| std::fs::read_to_string(place).ok());
            let source = source.unwrap_or_else(|| panic!("there is no {file}.rs for {test}"));
            let function = format!("fn {name}(");
            let at = source.find(&function).unwrap_or_else(|| panic!("there is no test {test}"));
            assert!(source[..at].trim_end().ends_with("#[test]"), "{test} is not a test");
        }
    }
    let mut twice = sentences.clone();
    twice.sort_unstable();
    twice.dedup();
    assert_eq!(twice.len(), sentences.len(), "a number stands twice");
    tested.sort_unstable();
    tested.dedup();
    assert_eq!(tested, twice, "the table and the sentences differ");
}

/// The same for docs/THREATS.md: a test that carries an attack out is not only promised.
#[test]
fn every_threat_names_a_test_that_exists() {
    every_row_names_a_test("THREATS.md", 40, 3, "| tests |");
}

/// The same for docs/IMAGES.md: each shape of an image is one that a test gives to the build.
#[test]
fn every_shape_of_an_image_names_a_test_that_exists() {
    every_row_names_a_test("IMAGES.md", 20, 4, "| test |");
}

/// Each row of the tables in `docs/BOOK`, of which `head` ends the first, has `cells` cells and a test that exists.
fn every_row_names_a_test(book: &str, least: usize, cells: usize, head: &str) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs").join(book)).unwrap();
    let named: Vec<_> = text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    assert!(named.len() > least, "{}", named.len());
    for (file, name) in named {
        let source =
            std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let function =
            source.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("there is no {file}::{name}"));
        let attributes = source[..function].trim_end_matches("async ").trim_end();
        assert!(attributes.ends_with(']') && attributes.contains("test]"), "{file}::{name} is not a test");
    }
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| -")) {
        let found = row.trim_matches('|').split('|').count();
        assert!(found == cells && (row.contains("::") || row.ends_with(head)), "a row without a test: {row}");
    }
}
