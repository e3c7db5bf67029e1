//! The programs that tests run. A missing one fails the test and says what to run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The built `ferry`.
#[must_use]
pub fn ferry() -> PathBuf {
    built("ferry")
}

/// The built `install`.
#[must_use]
pub fn install() -> PathBuf {
    built("install")
}

/// A program of the workspace: in `FERRY_BIN_DIR`, else where cargo put it beside this test.
fn built(name: &str) -> PathBuf {
    let folder = std::env::var_os("FERRY_BIN_DIR").map_or_else(
        || {
            let test = std::env::current_exe().unwrap();
            test.parent().and_then(Path::parent).unwrap().to_owned()
        },
        PathBuf::from,
    );
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build -p bundler -p installer` (scripts/test does), or set FERRY_BIN_DIR",
        path.display()
    );
    path
}

/// A program of the distribution, by name.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn stock(name: &str) -> PathBuf {
    let found = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: run scripts/prepare test"))
}

/// The Python that has `pyzstd`.
///
/// # Panics
/// When it was not prepared.
#[must_use]
pub fn python() -> PathBuf {
    fixtures::machine::python().unwrap_or_else(|error| panic!("{error:#}"))
}

/// A command with an environment that says nothing about this machine: no colours, no proxies, no
/// engine, no configuration of whoever runs the tests.
#[must_use]
pub fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    plain_environment(&mut command);
    command
}

/// A shell in a folder, with the built programs in its PATH.
///
/// # Panics
/// When they were not built.
#[must_use]
pub fn shell(folder: &Path) -> Command {
    let mut shell = command("/bin/sh");
    let _ = shell.current_dir(folder).env("PATH", path(None));
    shell
}

/// A PATH with the built programs, and with Ferry's `bin` of a host.
pub(crate) fn path(root: Option<&Path>) -> String {
    let programs = ferry().parent().unwrap().display().to_string();
    let resident = root.map(|root| format!(":{}/bin", root.display())).unwrap_or_default();
    format!("{programs}{resident}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
}

/// See [`command`].
pub fn plain_environment(command: &mut Command) {
    command.env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    command.env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8").env("TERM", "dumb");
    command.env("DOCKER_HOST", "unix:///nonexistent/no-engine-was-named.sock");
    if let Some(folder) = std::env::var_os("TMPDIR") {
        command.env("TMPDIR", folder);
    }
}
