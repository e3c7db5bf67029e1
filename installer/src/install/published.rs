//! Addresses on which services can be reached.

use crate::engine::Engine;
use crate::services::Replica;
use crate::services::parking::Standing;
use anyhow::Result;
use manifest_schema::ProjectName;
use std::collections::BTreeSet;

/// Published addresses of the services, also of ports that the engine has chosen.
pub(super) async fn published(engine: &Engine, name: &ProjectName) -> Result<Vec<String>> {
    let standing = Standing::read(engine, name.as_str()).await?;
    let mut addresses = BTreeSet::new();
    for container in standing.current() {
        let Some(replica) = Replica::of(&container.labels) else { continue };
        for (address, target) in container.ports.iter().filter_map(|port| port.split_once("->")) {
            let protocol = target.rsplit_once('/').map_or("tcp", |(_, protocol)| protocol);
            addresses.insert(format!("{replica}  {}/{protocol}", address.replacen("0.0.0.0:", "*:", 1)));
        }
    }
    Ok(addresses.into_iter().collect())
}
