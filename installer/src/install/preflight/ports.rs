//! Published ports that somebody holds, and who that is: another program, another container, or the engine itself.
//!
//! An engine that is killed while it starts a container holds that container's ports for ever after: the next one
//! brings the half-made network back, and the container never runs. Seen on Docker 20.10; an orderly restart of the
//! engine ends it.

use super::Finding;
use crate::engine::containers::ContainerFacts;
use ferry_terminal::human;
use manifest_schema::compose::model::Project;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// The ports of this host, as far as containers hold them.
pub(crate) struct Ports<'a> {
    /// The project's own containers.
    pub own: &'a [ContainerFacts],
    /// Those of all projects.
    pub all: &'a [ContainerFacts],
    /// The way to restart the engine, as people are told it.
    pub restart: &'a str,
}

/// Published ports that someone else holds.
#[must_use]
pub(crate) fn check_ports(project: &Project, ports: &Ports<'_>) -> Vec<Finding> {
    let of = |container: &ContainerFacts| -> Vec<(u16, String)> {
        container.ports.iter().filter_map(|port| published(port)).collect()
    };
    let held: BTreeSet<(u16, String)> = ports.own.iter().flat_map(of).collect();
    let mut findings = Vec::new();
    for (name, service) in &project.services {
        for port in &service.ports {
            let Some(number) = port.published else { continue };
            let wanted = (number, port.protocol.clone());
            if held.contains(&wanted) {
                continue;
            }
            let host: IpAddr = match &port.host_ip {
                Some(ip) => match ip.parse() {
                    Ok(ip) => ip,
                    Err(_) => continue,
                },
                None => Ipv4Addr::UNSPECIFIED.into(),
            };
            let address = SocketAddr::new(host, number);
            let tried = match port.protocol.as_str() {
                "udp" => UdpSocket::bind(address).map(drop),
                "tcp" => TcpListener::bind(address).map(drop),
                _ => Ok(()),
            };
            match tried.map_err(|error| error.kind()) {
                Err(ErrorKind::AddrInUse) => {
                    let container =
                        ports.all.iter().find(|other| other.runs() && of(other).contains(&wanted));
                    let port = format!("port {number}/{} of service {name}", port.protocol);
                    findings.push(taken(
                        &port,
                        address,
                        container,
                        holder(address, &wanted.1),
                        ports.restart,
                    ));
                }
                Err(ErrorKind::AddrNotAvailable) => findings.push(Finding::new(
                    format!("service {name} publishes on {host}, which is no address of this machine"),
                    "give the machine this address, or publish on another",
                )),
                _ => {}
            }
        }
    }
    findings
}

/// The finding of a port that is taken by `container` or by the program called `holder`.
fn taken(
    port: &str,
    address: SocketAddr,
    container: Option<&ContainerFacts>,
    holder: Option<String>,
    restart: &str,
) -> Finding {
    let (host, number) = (address.ip(), address.port());
    let other = "or publish another port, with another answer or in override.yaml";
    if let Some(container) = container {
        let container = human::printable(&container.name);
        return Finding::new(
            format!("{port} is taken on {host} by the container {container}"),
            format!("stop that container, {other}"),
        );
    }
    if holder.as_deref().is_some_and(is_engine) {
        return Finding {
            engine_restart: true,
            ..Finding::new(
                format!(
                    "{port} is held on {host} by the engine itself, and no container that runs publishes it"
                ),
                format!(
                    "the engine was killed while it started a container, and gives the port back when it is \
                     restarted: `{restart}`, or run this again with --restart-engine, which does that; all \
                     containers of this host stop for a moment"
                ),
            )
        };
    }
    let by = holder.map(|holder| format!(" by {}", human::printable(&holder))).unwrap_or_default();
    Finding::new(
        format!("{port} is taken on {host}{by}"),
        format!("`ss -lnp | grep :{number}` shows the program that uses it: stop it, {other}"),
    )
}

/// A program that holds ports for containers.
fn is_engine(program: &str) -> bool {
    matches!(program, "dockerd" | "docker-proxy" | "rootlesskit" | "rootlessport" | "conmon")
}

/// The name of the program that listens there; `None` where this user may not see it.
fn holder(address: SocketAddr, protocol: &str) -> Option<String> {
    let sockets = ["", "6"].into_iter().flat_map(|version| {
        let table = fs::read_to_string(format!("/proc/self/net/{protocol}{version}")).unwrap_or_default();
        listeners(&table, address.port())
    });
    let sockets: BTreeSet<String> = sockets.map(|inode| format!("socket:[{inode}]")).collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten().filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
    });
    let holds = |process: &fs::DirEntry| {
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
        links.any(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
    };
    let process = processes.into_iter().find(holds)?;
    fs::read_to_string(process.path().join("comm")).ok().map(|name| name.trim().to_owned())
}

/// The inodes of sockets that listen on `port`, from a table of the kernel (proc(5), `/proc/net/tcp`).
fn listeners(table: &str, port: u16) -> Vec<String> {
    /// `TCP_LISTEN`, and the state of every UDP socket that is not connected.
    const LISTENS: [&str; 2] = ["0A", "07"];
    let port = format!("{port:04X}");
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let listens = fields.get(3).is_some_and(|state| LISTENS.contains(state));
        let here = fields.get(1)?.rsplit_once(':').is_some_and(|(_, own)| own == port);
        fields.get(9).filter(|_| here && listens).map(|inode| (*inode).to_owned())
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// `0.0.0.0:80->80/tcp` → 80, tcp.
fn published(text: &str) -> Option<(u16, String)> {
    let (host, container) = text.split_once("->")?;
    let (_, number) = host.rsplit_once(':')?;
    let (_, protocol) = container.split_once('/')?;
    Some((number.parse().ok()?, protocol.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        assert_eq!(published("0.0.0.0:80->8080/tcp"), Some((80, "tcp".to_owned())));
        assert_eq!(published(":::80->8080/udp"), Some((80, "udp".to_owned())));
        assert_eq!(published("80/tcp"), None);
    }

    #[test]
    fn the_kernels_table_names_who_listens() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100\n   \
             1: 0100007F:1F90 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100\n   \
             2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100\nx\n\n";
        assert_eq!(listeners(table, 8080), ["4711"]);
        assert_eq!(listeners(table, 1), [""; 0]);
        // This process itself.
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = holder(own.local_addr().unwrap(), "tcp").unwrap();
        let comm = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(name, comm.trim());
    }

    #[test]
    fn the_engine_is_told_from_programs_and_containers() {
        let address = "127.0.0.1:80".parse().unwrap();
        let by = |container, holder: Option<&str>| {
            taken("port 80/tcp of service web", address, container, holder.map(str::to_owned), "restart it")
        };
        let engine = by(None, Some("docker-proxy"));
        assert!(engine.engine_restart && engine.fix.contains("`restart it`"), "{engine}");
        let program = by(None, Some("nginx"));
        assert!(!program.engine_restart && program.fact.ends_with("is taken on 127.0.0.1 by nginx"));
        assert!(by(None, None).fact.ends_with("is taken on 127.0.0.1"));
    }
}
