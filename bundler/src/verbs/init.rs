//! `ferry init`: a commented `ferry.yaml` for a folder that has a Compose file.

use anyhow::{Context, Result};
use ferry_terminal::{Class, Failure, whole_file};
use manifest_schema::compose::{self, Text};
use manifest_schema::schema;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names Compose itself looks for, in its order (Compose Specification, "Compose file").
const COMPOSE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// The file that editors complete and check a manifest with.
const SCHEMA: &str = "ferry.schema.json";

/// Writes `ferry.yaml` in `folder` and returns its path and the mistakes that the Compose file has
/// for Ferry, if any.
///
/// # Errors
/// When there is no Compose file, or `ferry.yaml` exists already.
pub(crate) fn init(folder: &Path) -> Result<(PathBuf, Option<manifest_schema::Diagnostics>)> {
    let Some(name) = COMPOSE_NAMES.into_iter().find(|name| folder.join(name).is_file()) else {
        let fact = format!("there is no compose.yaml in {}", folder.display());
        return Err(Failure::new(Class::Input, fact)
            .hint("run this in the folder of your Compose file")
            .into());
    };
    let target = folder.join("ferry.yaml");
    let text = std::fs::read_to_string(folder.join(name)).with_context(|| format!("reading {name}"))?;
    let env = std::fs::read_to_string(folder.join(".env")).unwrap_or_default();
    let mut env = compose::parse_dotenv(".env", &env).unwrap_or_default();
    env.insert("COMPOSE_PROJECT_NAME".to_owned(), product_name(folder));
    let shown = folder.join(name).display().to_string();
    let load = |file: &str| std::fs::read(folder.join(file)).ok();
    let (images, volumes, mistakes) = match compose::parse(&[Text { file: &shown, text: &text }], &env, &load)
    {
        Ok(parsed) => {
            let images: BTreeSet<String> =
                parsed.project.services.values().map(|service| service.image.clone()).collect();
            let volumes: Vec<String> = parsed.project.volumes.keys().cloned().collect();
            (images, volumes, None)
        }
        Err(mistakes) => (BTreeSet::new(), Vec::new(), Some(mistakes)),
    };
    let content = write(&product_name(folder), name, &images, &volumes);
    let written = whole_file::write_new(&target, content.as_bytes(), 0o644);
    if written.as_ref().is_err_and(whole_file::is_taken) {
        let fact = format!("{} exists already", target.display());
        return Err(Failure::new(Class::Files, fact).hint("edit it, or move it away first").into());
    }
    written?;
    // For editors; whoever has one already keeps it.
    let schema = serde_json::to_vec_pretty(&schema::manifest())?;
    let described = whole_file::write_new(&folder.join(SCHEMA), &schema, 0o644);
    if described.as_ref().is_err_and(|error| !whole_file::is_taken(error)) {
        described?;
    }
    Ok((target, mistakes))
}

/// The folder's name, made into a project name.
fn product_name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_' { c } else { '-' })
        .collect();
    let name = name.trim_matches(['-', '_']).chars().take(63).collect::<String>();
    if name.is_empty() { "site".to_owned() } else { name }
}

fn write(name: &str, compose: &str, images: &BTreeSet<String>, volumes: &[String]) -> String {
    let mut text = format!(
        "# yaml-language-server: $schema=./{SCHEMA}\n\
         ferry: 1\n\
         name: {name}            # the product, and the Compose project on site\n\
         version: 0.1.0\n\
         compose: {compose}\n\n\
         # Images are looked for in ./images (saved tarballs), then in the local engine, then in the\n\
         # registry. Name a source only where that does not find the right one:\n\
         # docker-archive:FILE, oci-archive:FILE, oci:FOLDER, docker-daemon:NAME, docker://NAME\n"
    );
    if images.is_empty() {
        text.push_str("# images:\n#   acme/api:1.0: docker-archive:dist/api.tar\n");
    } else {
        text.push_str("# images:\n");
        for (number, image) in images.iter().enumerate() {
            text.push_str(&format!("#   {image}: docker-archive:dist/image-{}.tar\n", number + 1));
        }
    }
    text.push_str(
        "\n# Build artifacts: files, folders, archives, .deb, .jar, and a path of a git repository at a ref.\n\
         # They are laid out below artifacts/ on site.\n\
         # artifacts:\n\
         #   - dist/agent.deb\n\
         #   - { from: \"git:../settings@v1.0\", to: settings }\n\n\
         # Config files; *.j2 are Jinja templates, rendered on site with the variables below.\n\
         # configs:\n\
         #   - { from: templates/nginx.conf.j2, to: config/nginx.conf }\n\n\
         # variables:\n\
         #   plant_name:  { prompt: \"Name of this plant\", default: PLANT-1 }\n\
         #   db_password: { type: secret, generate: 32 }\n\n",
    );
    match volumes.first() {
        Some(volume) => text.push_str(&format!(
            "# First content of a named volume, used only while it is empty:\n# volumes:\n#   {volume}: {{ seed: seed/{volume}.tar }}\n\n"
        )),
        None => text.push_str("# First content of a named volume, used only while it is empty:\n# volumes:\n#   data: { seed: seed/data.tar }\n\n"),
    }
    text.push_str("requires: { engine: \">=20.10\", arch: [amd64] }\n");
    text
}

/// Every new manifest can be read as one.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_a_manifest_with_and_without_its_comments() {
        let images = BTreeSet::from(["acme/api:1.0".to_owned(), "redis:7".to_owned()]);
        for (images, volumes) in [(images, vec!["data".to_owned()]), (BTreeSet::new(), Vec::new())] {
            let text = write("site", "compose.yaml", &images, &volumes);
            manifest_schema::manifest::Manifest::parse("ferry.yaml", &text).unwrap();
            let uncommented: String = text
                .lines()
                .map(|line| match line.strip_prefix("# ") {
                    Some(rest) if rest.starts_with("  ") || rest.ends_with(':') && !rest.contains(' ') => {
                        rest
                    }
                    _ => line,
                })
                .fold(String::new(), |all, line| all + line + "\n");
            manifest_schema::manifest::Manifest::parse("ferry.yaml", &uncommented).unwrap();
        }
    }
}
