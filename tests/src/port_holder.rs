//! Another program on a host, which holds a port.

use crate::host::Host;
use std::fs;
use std::process::{Child, Stdio};

/// A web server of its own in the host's namespace. It ends when it is dropped.
#[derive(Debug)]
pub struct PortHolder(Child);

impl PortHolder {
    /// Takes a port of the loopback, and waits until it is served.
    ///
    /// # Panics
    /// When the port cannot be taken.
    #[track_caller]
    #[must_use]
    pub fn start(host: &Host, port: u16) -> Self {
        let folder = host.engine.folder().join("other");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("index.html"), "taken\n").unwrap();
        let mut command = host.command(&fixtures::machine::busybox().unwrap());
        command.args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"]).arg(&folder);
        let holder = Self(command.stdout(Stdio::null()).spawn().unwrap());
        assert_eq!(host.page(port), "taken");
        holder
    }
}

impl Drop for PortHolder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
