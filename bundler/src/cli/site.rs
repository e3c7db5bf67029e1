//! `ferry render`, `lint` and `schema`: what a site gets, and what is wrong with it, before anything is built.

use crate::cancel::Cancel;
use crate::inputs::answers::Answers;
use crate::inputs::renderings;
use crate::verbs::{lint, render};
use crate::{artifacts, inputs};
use anyhow::{Context, Result};
use clap::Args;
use ferry_terminal::confined::CONFINED;
use ferry_terminal::{Class, Failure, Output, human};
use manifest_schema::compose::model::Permission;
use manifest_schema::manifest::Manifest;
use manifest_schema::{Diagnostics, schema};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How a site's answers are given.
#[derive(Args)]
pub(super) struct AnswerArgs {
    /// Answers of the site: a map of names and values
    #[arg(long, value_name = "FILE")]
    pub(super) values: Option<PathBuf>,
    /// One answer; it overrides those of the file (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) set: Vec<String>,
}

#[derive(Args)]
pub(super) struct RenderArgs {
    /// The manifest, or the folder that holds ferry.yaml
    #[arg(default_value = ".")]
    manifest: PathBuf,
    #[command(flatten)]
    answers: AnswerArgs,
    /// Host name that templates see [default: that of the values file, `hall-1` for sites/hall-1.yaml]
    #[arg(long)]
    hostname: Option<String>,
    /// Show the unified diff to the site with these answers
    #[arg(long, value_name = "FILE")]
    diff: Option<PathBuf>,
    /// Write the files into this folder instead of showing them, with their modes on site
    #[arg(long, short, value_name = "FOLDER", conflicts_with = "diff")]
    output: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct LintArgs {
    /// The manifest, or the folder that holds ferry.yaml
    #[arg(default_value = ".")]
    manifest: PathBuf,
    /// Fail on warnings and advice, too
    #[arg(long)]
    strict: bool,
}

#[derive(Args)]
pub(super) struct SchemaArgs {
    /// The schema: of the `manifest` (ferry.yaml), or of the `values` of its variables
    #[arg(default_value = "manifest", value_parser = ["manifest", "values"])]
    of: String,
    /// For `values`: the manifest with the variables, or the folder that holds ferry.yaml
    #[arg(default_value = ".")]
    manifest: PathBuf,
}

impl AnswerArgs {
    /// Where answers come from, the environment of this program included.
    pub(super) fn read(&self) -> Answers {
        let texts =
            |(key, value): (OsString, OsString)| Some((key.into_string().ok()?, value.into_string().ok()?));
        Answers {
            environment: std::env::vars_os().filter_map(texts).collect(),
            file: self.values.clone(),
            single: self.set.clone(),
        }
    }
}

pub(super) fn run_render(args: &RenderArgs, output: Output) -> Result<()> {
    let answers = args.answers.read();
    let given = answers.read()?;
    let hostname = |file| args.hostname.as_deref().unwrap_or_else(|| renderings::hostname(file));
    let rendered =
        render::render(&args.manifest, &given, hostname(args.answers.values.as_deref()), &CONFINED)?;
    for warning in &rendered.warnings {
        output.remark("warning", &warning.to_string());
    }
    for (name, value) in &rendered.stand_ins {
        let value = human::printable(&value.to_string());
        output.remark("note", &format!("`{name}` has no answer; {value} is used instead"));
    }
    if let Some(file) = &args.diff {
        let other = answers.with_file(file).read()?;
        let other = render::render(&args.manifest, &other, hostname(Some(file)), &CONFINED)?;
        let name = args.answers.values.as_deref().map_or_else(|| "defaults".to_owned(), shown);
        let diff = render::diff(&rendered, &name, &other, &shown(file));
        if output.json {
            output.line(&serde_json::json!({ "diff": diff }).to_string());
        } else if !diff.is_empty() {
            output.line(&human::printable_lines(diff.trim_end()));
        }
        return Ok(());
    }
    if let Some(folder) = &args.output {
        render::write(&rendered, folder).with_context(|| format!("writing into {}", folder.display()))?;
        let files: Vec<&String> = rendered.files.keys().collect();
        if output.json {
            output.line(&serde_json::json!({ "folder": folder, "files": files }).to_string());
        } else {
            output.line(&format!("wrote {} into {}", human::count(files.len(), "file"), folder.display()));
        }
        return Ok(());
    }
    if output.json {
        output.line(&serde_json::to_string_pretty(&rendered)?);
        return Ok(());
    }
    for (path, file) in &rendered.files {
        output.line(&output.bold(&format!("==> {path} ({}) <==", file.mode)));
        match &file.text {
            Some(text) => output.line(human::printable_lines(text).trim_end_matches('\n')),
            None => output.line(&format!("({} of binary data)", human::bytes(file.bytes.len() as u64))),
        }
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

pub(super) fn run_lint(args: &LintArgs, output: Output) -> Result<()> {
    let mut inputs = inputs::read(&args.manifest, &CONFINED)?;
    let mut mistakes = inputs.missing_images();
    if let Err(error) = artifacts::of(&inputs, &Cancel::default()) {
        mistakes.0.extend(error.downcast::<Diagnostics>()?.0);
    }
    mistakes.or_ok(())?;
    let of_seeds = lint::seeds(&inputs, &Cancel::default())?;
    inputs.warnings.extend(of_seeds);
    let advice = lint::advice(&inputs);
    let of_site = lint::of_site(&inputs);
    if output.json {
        let report = serde_json::json!({ "warnings": inputs.warnings, "advice": advice, "site": of_site });
        output.line(&serde_json::to_string_pretty(&report)?);
    } else {
        for (word, list) in [("warning:", &inputs.warnings), ("advice:", &advice)] {
            for one in list {
                output.line(&format!("{} {one}", output.yellow(word)));
            }
        }
        for Permission { kind, value, services } in &of_site {
            let services: Vec<&str> = services.iter().map(|name| name.as_str()).collect();
            let services =
                if services.is_empty() { String::new() } else { format!(" ({})", services.join(", ")) };
            output.line(&format!(
                "{} has to have the {} {}{services}",
                output.yellow("site:"),
                kind.word(),
                human::printable(value)
            ));
        }
        let tried = inputs.renderings.len();
        let summary = match (inputs.warnings.len(), advice.len()) {
            (0, 0) => "no mistakes, no warnings, no advice".to_owned(),
            (warnings, advice) => {
                format!(
                    "no mistakes, {}, {} of advice",
                    human::count(warnings, "warning"),
                    human::count(advice, "point")
                )
            }
        };
        let sites = human::count(tried - 1, "file");
        output.line(&format!(
            "{} {summary} (checked with the defaults and {sites} in sites/)",
            output.green("✓")
        ));
    }
    if args.strict && !(advice.is_empty() && inputs.warnings.is_empty()) {
        return Err(Failure::new(
            Class::Input,
            "there are warnings or advice, and --strict makes them errors",
        )
        .into());
    }
    Ok(())
}

pub(super) fn run_schema(args: &SchemaArgs, output: Output) -> Result<()> {
    let schema = if args.of == "manifest" {
        schema::manifest()
    } else {
        let file =
            if args.manifest.is_dir() { args.manifest.join("ferry.yaml") } else { args.manifest.clone() };
        let text = crate::read::folder::read_text(&file).map_err(Diagnostics::from)?;
        schema::values(&Manifest::parse(&file.display().to_string(), &text)?)
    };
    output.line(&serde_json::to_string_pretty(&schema)?);
    Ok(())
}
