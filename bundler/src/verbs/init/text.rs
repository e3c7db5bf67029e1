//! The manifest that `ferry init` writes: with what was found, and comments on the rest.

use super::SCHEMA;
use super::found::{Found, is_address};
use manifest_schema::compose::Used;
use manifest_schema::limits::MAX_VARIABLES;
use std::fmt::Write as _;

/// The text of `ferry.yaml`.
pub(super) fn manifest(found: &Found) -> String {
    let compose = match found.compose.as_slice() {
        [one] => quoted(one),
        all => format!("[{}]", all.iter().map(|path| quoted(path)).collect::<Vec<_>>().join(", ")),
    };
    let mut text = format!(
        "# yaml-language-server: $schema=./{SCHEMA}\n\
         ferry: 1\n\
         name: {}            # the product, and the Compose project on site\n\
         version: 0.1.0\n\
         compose: {compose}\n\n\
         # Images are looked for in ./images (saved tarballs), then in the local engine, then in the\n\
         # registry. Name a source only where that does not find the right one:\n\
         # docker-archive:FILE, oci-archive:FILE, oci:FOLDER, docker-daemon:NAME, docker://NAME\n",
        found.name
    );
    if found.images.is_empty() {
        text.push_str("# images:\n#   acme/api:1.0: docker-archive:dist/api.tar\n");
    } else {
        text.push_str("# images:\n");
        for (number, image) in found.images.iter().enumerate() {
            let _ = writeln!(text, "#   {image}: docker-archive:dist/image-{}.tar", number + 1);
        }
    }
    text.push_str(
        "\n# Build artifacts: files, folders, archives, .deb, .jar, and a path of a git repository at a ref.\n\
         # They are laid out below artifacts/ on site.\n\
         # artifacts:\n\
         #   - dist/agent.deb\n\
         #   - { from: \"git:../settings@v1.0\", to: settings }\n\n\
         # Config files; *.j2 are Jinja templates, rendered on site with the variables below. A service gets one\n\
         # by a mount of its place: `volumes: [\"./config/nginx.conf:/etc/nginx/nginx.conf:ro\"]`.\n",
    );
    if found.templates.is_empty() {
        text.push_str("# configs:\n#   - { from: templates/nginx.conf.j2, to: config/nginx.conf }\n\n");
    } else {
        let _ = writeln!(text, "configs:\n{}", configs(found, |_| true));
    }
    let asked = variables(found, |_| true);
    if asked.is_empty() {
        text.push_str("# Answers that a site gives, by `${NAME}` in the Compose file and `{{ NAME }}` in templates.\n# variables:\n");
    } else {
        let _ = write!(
            text,
            "# What the Compose file names and nothing gives a value: asked on site, but for defaults.\nvariables:\n{asked}"
        );
    }
    if found.defaults.is_empty() && asked.is_empty() {
        text.push_str(
            "#   plant_name:  { prompt: \"Name of this plant\", default: PLANT-1 }\n\
             #   db_password: { type: secret, generate: 32 }\n",
        );
    }
    for (name, default) in &found.defaults {
        let _ = writeln!(text, "#   {name}: {{ prompt: \"{name}\", default: \"{default}\" }}");
    }
    text.push_str(
        "\n# First content of a named volume, used only while it is empty. It belongs to the user of the service, or\n\
         # to the owner of the mount point in its image; `owner: \"70:71\"` says another (and needs `ferry: 2`).\n\
         # volumes:\n",
    );
    if found.volumes.is_empty() {
        text.push_str("#   data: { seed: seed/data.tar }\n");
    }
    for volume in &found.volumes {
        let _ = writeln!(text, "#   {volume}: {{ seed: seed/{volume}.tar }}");
    }
    text.push_str("\nrequires: { engine: \">=20.10\", arch: [amd64] }\n");
    text
}

/// The lines of the templates that are `wanted`.
pub(super) fn configs(found: &Found, wanted: impl Fn(&str) -> bool) -> String {
    let wanted = found.templates.iter().filter(|(from, _)| wanted(from));
    wanted.map(|(from, to)| format!("  - {{ from: {}, to: {} }}\n", quoted(from), quoted(to))).collect()
}

/// The lines of the variables that are `wanted`, by name. The shell's own are none of a site.
pub(super) fn variables(found: &Found, wanted: impl Fn(&str) -> bool) -> String {
    let asked = found.variables.iter().filter(|one| !matches!(one.name.as_str(), "PWD" | "HOME"));
    // A manifest takes no other keys, nor more of them.
    let asked = asked.filter(|one| quoted(&one.name) == one.name).take(MAX_VARIABLES);
    let lines = asked.filter(|one| wanted(&one.name)).map(|one| {
        let name = &one.name;
        match one.used {
            Used::Text => format!("  {name}: {{ default: \"\" }}\n"),
            Used::Port if is_address(one) => format!("  {name}: {{ type: address, prompt: \"{name}\" }}\n"),
            Used::Port => format!("  {name}: {{ type: port, prompt: \"{name}\" }}\n"),
            Used::Path => format!("  {name}: {{ type: path, prompt: \"{name}\" }}\n"),
            Used::Secret => format!(
                "  {name}: {{ prompt: \"{name}\" }} # `type: secret` hides it, for a file under `secrets:` in the Compose file\n"
            ),
            Used::Image | Used::Shell => format!("  {name}: {{ prompt: \"{name}\" }}\n"),
        }
    });
    lines.collect()
}

/// A text as a value in YAML, in quotes where it is not plain: names of files are anybody's.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '.' || c == '/');
    let is_word =
        matches!(text.to_ascii_lowercase().as_str(), "null" | "true" | "false" | "yes" | "no" | "on" | "off");
    match begins && !is_word && text.chars().all(is_plain) {
        true => text.to_owned(),
        // JSON is YAML (YAML 1.2.2, 1.3).
        false => serde_json::Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::manifest::Manifest;

    #[test]
    fn names_of_files_are_values_and_nothing_else() {
        let names = [
            "a, b.j2",
            "x}.j2",
            "#h.j2",
            "a #h.j2",
            "&a.j2",
            "*.j2",
            "a: b.j2",
            "[x].j2",
            "{{ x }}.j2",
            "-.j2",
            "no",
            "a'\"b.j2",
            "ü.j2",
        ];
        let templates = names.iter().map(|name| ((*name).to_owned(), format!("config/{name}"))).collect();
        let found = Found {
            name: "site".to_owned(),
            compose: vec!["a b.yaml".to_owned(), "c,d.yaml".to_owned()],
            templates,
            ..Found::default()
        };
        let read = Manifest::parse("ferry.yaml", &manifest(&found)).unwrap();
        let from: Vec<&str> = read.configs.iter().map(|config| config.from.as_str()).collect();
        assert_eq!(from, names);
        assert_eq!(read.compose[1].as_str(), "c,d.yaml");
    }
}
