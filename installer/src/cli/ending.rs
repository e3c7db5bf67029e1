//! The result of an install, for a person or a program.

use super::Common;
use crate::host::Root;
use crate::install::Ending;
use crate::services::replica::listed;
use anyhow::Result;
use ferry_terminal::{Output, human};

pub(super) fn report(ending: Ending, common: &Common, output: Output) -> Result<()> {
    if output.json {
        output.line(&serde_json::to_string_pretty(&ending)?);
        return Ok(());
    }
    match ending {
        Ending::Planned { plan } => {
            output.line(plan.to_string().trim_end());
            output.line("nothing was changed (--dry-run)");
        }
        Ending::Unchanged { release } => {
            output.line(&format!(
                "{} {release} is installed, runs and is unchanged: nothing to do",
                output.green("✓")
            ));
        }
        Ending::Installed { release, plan, report, published, resident } => {
            let (name, version) = (output.bold(&plan.name), human::printable(&plan.version));
            output.line(&if report.not_up.is_empty() {
                format!("{} {name} {version} runs ({release})", output.green("✓"))
            } else {
                let others = listed(report.not_up.iter().map(|failure| &failure.replica));
                let mark = output.yellow("!");
                format!("{mark} {name} {version} is installed ({release}); not up, as before: {others}")
            });
            let groups = [
                ("new", &report.created),
                ("replaced", &report.replaced),
                ("made anew", &report.renewed),
                ("started", &report.started),
                ("restarted", &report.restarted),
                ("removed", &report.stopped),
                ("unchanged", &report.unchanged),
            ];
            for (word, services) in groups {
                if !services.is_empty() {
                    output.line(&format!("  {word:<10} {}", listed(services)));
                }
            }
            for address in published {
                output.line(&format!("  listens    {}", human::printable(&address)));
            }
            let root = Root::new(&common.root())?;
            let product = root.product(&plan.name.parse()?);
            // Ferry's folder as the person wrote it.
            let place = product.path().strip_prefix(root.path()).unwrap_or(product.path());
            let folder = common.root().join(place).join("current");
            output.line(&format!("  files      {}", folder.display()));
            let program = match resident {
                true => common.root().join("bin/fz").display().to_string(),
                false => format!("./install --root {}", common.root().display()),
            };
            output.line(&format!("  next       {program} status"));
        }
    }
    Ok(())
}
