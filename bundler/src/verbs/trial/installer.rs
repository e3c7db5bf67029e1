//! The installer as a program: the one that goes onto the stick, with a folder of the trial's own.

use anyhow::{Context, Result};
use ferry_terminal::{Class, Failure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// Between two looks at whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An installer and what every call of it is given.
#[derive(Debug, Clone)]
pub(super) struct Installer {
    pub(super) program: PathBuf,
    /// The folder that it works in.
    pub(super) root: PathBuf,
    /// The engine; `None`: the one it finds.
    pub(super) engine: Option<String>,
}

impl Installer {
    /// Makes the folder of the product `name`, where it looks for it. Nobody else may write there, whatever the umask.
    pub(super) fn make_product(&self, name: &str) -> Result<PathBuf> {
        let product = self.root.join("products").join(name);
        make_folder(&product)?;
        Ok(product)
    }

    /// A call of it, to be run.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root);
        if let Some(engine) = &self.engine {
            command.arg("--engine").arg(engine);
        }
        command.args(arguments);
        command
    }

    /// Removes what is installed under `name`: containers, networks, volumes, images that the engine had not
    /// before, files. Nothing is done where nothing is installed.
    ///
    /// # Errors
    /// When it cannot be run, or could not remove everything.
    pub(super) fn uninstall(&self, name: &str) -> Result<()> {
        // Wherever the installer has put it, this leads there.
        let product = self.root.join(name);
        if !product.join("installed.json").is_file() {
            return Ok(());
        }
        // On a site these are the site's own, and stay.
        for own in ["override.yaml", "external"].map(|own| product.join(own)) {
            let removed = if own.is_dir() { fs::remove_dir_all(&own) } else { fs::remove_file(&own) };
            removed
                .or_else(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })
                .with_context(|| format!("removing {}", own.display()))?;
        }
        let mut command = self.command(&["uninstall", "--volumes", "--yes"]);
        // A further Ctrl-C is not for it: half a removal helps nobody.
        in_a_group_of_its_own(&mut command);
        if command.status().context("running the installer")?.success() {
            return Ok(());
        }
        Err(Failure::new(Class::Other, format!("the trial {name} was not removed completely"))
            .hint(format!(
                "run `{} --root {} uninstall --volumes --yes`",
                self.program.display(),
                self.root.display()
            ))
            .into())
    }
}

/// Makes a folder, and those above it, that only its owner writes.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
    builder.recursive(true).create(path).with_context(|| format!("creating {}", path.display()))
}

/// Writes a file that only its owner writes.
pub(super) fn write_own(path: &Path, content: &[u8]) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    fs::write(path, content).with_context(doing)?;
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).with_context(doing)?;
    Ok(())
}

/// The installer, which lies beside this program as on a stick.
pub(super) fn find(named: Option<&Path>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_path_buf(),
        None => std::env::current_exe()?.with_file_name("install"),
    };
    if path.is_file() {
        return Ok(path.canonicalize()?);
    }
    Err(Failure::new(Class::Usage, format!("the installer {} does not exist", path.display()))
        .hint("put `install` beside `ferry`, or name it with --installer")
        .into())
}

/// Runs `command` to its end. As soon as `stop` says so it is asked, once, to end in good order: a second
/// Ctrl-C would leave things as they are. So it does not hear the terminal's own, either.
pub(super) fn run(mut command: Command, stop: &mut dyn FnMut() -> bool) -> Result<ExitStatus> {
    in_a_group_of_its_own(&mut command);
    let mut child = command.spawn().context("running the installer")?;
    let mut asked = false;
    loop {
        if let Some(status) = child.try_wait().context("waiting for the installer")? {
            return Ok(status);
        }
        if !asked && stop() {
            asked = true;
            interrupt(&mut child);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A signal of the terminal goes to a whole group of processes.
pub(super) fn in_a_group_of_its_own(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}

#[cfg(unix)]
fn interrupt(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    // It was not waited for, so the number is still its own.
    let _ = kill_process(Pid::from_child(child), Signal::INT);
}

#[cfg(not(unix))]
fn interrupt(child: &mut Child) {
    let _ = child.kill();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        // A shell that begins with SIGINT ignored, as below `nohup … &`, can set no trap for it.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", "/bin/sh", "-c", script]);
        command
    }

    #[test]
    fn who_is_asked_to_stop_ends_in_its_own_order_and_is_asked_once() {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let script = format!(
            "n=0; trap 'n=$((n+1)); sleep 0.3; exit $((40 + n))' INT; : > {}; while :; do sleep 0.05; done",
            ready.display()
        );
        let mut asked = 0;
        let status = run(shell(&script), &mut || {
            asked += usize::from(ready.exists());
            ready.exists()
        });
        assert_eq!((status.unwrap().code(), asked), (Some(41), 1));
        assert_eq!(run(shell("exit 7"), &mut || false).unwrap().code(), Some(7));
    }
}
