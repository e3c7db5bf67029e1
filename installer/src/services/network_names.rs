//! The name of each network of a project in the engine.
//!
//! Engines cannot change a network. One whose definition has changed is therefore created again, beside the old
//! one and under a name of its own, and the services move over to it as they move to a new image: the way
//! back leads to the old network, and the commit removes it. What two networks cannot share, and a name that
//! the Compose file gives itself, keep the old one in use.

use crate::engine::label;
use crate::engine::networks::NetworkFacts;
use crate::services::spec::resource_name;
use manifest_schema::compose::model::{Network, Project};
use manifest_schema::{Digest, ProjectName};
use std::collections::BTreeMap;

/// Options that no two networks may have alike.
const EXCLUSIVE: [&str; 2] = ["com.docker.network.bridge.name", "parent"];

/// The hash of a network's definition, as the label [`label::DEFINITION`] keeps it.
#[must_use]
pub(crate) fn definition(network: &Network) -> String {
    Digest::of(&serde_json::to_vec(network).unwrap_or_default()).short()
}

/// The name of each network of `project`, by its key in the Compose file. `there` are the project's networks that the
/// engine has.
#[must_use]
pub fn network_names(
    name: &ProjectName,
    project: &Project,
    there: &[NetworkFacts],
) -> BTreeMap<String, String> {
    let named = project.networks.iter().map(|(key, network)| {
        let usual = resource_name(name, key, network.name.as_deref());
        let named = if network.external || network.name.is_some() {
            usual
        } else {
            unnamed(usual, key, network, there)
        };
        (key.clone(), named)
    });
    named.collect()
}

fn unnamed(usual: String, key: &str, network: &Network, there: &[NetworkFacts]) -> String {
    let definition = definition(network);
    let mut own = there.iter().filter(|found| found.labels.get(label::NETWORK).is_some_and(|of| of == key));
    let defined = |found: &NetworkFacts| found.labels.get(label::DEFINITION).cloned();
    if let Some(same) = own.clone().find(|found| defined(found).as_ref() == Some(&definition)) {
        return same.name.clone();
    }
    if let Some(in_use) = own.find(|found| defined(found).is_none() || !can_stand_beside(network, found)) {
        return in_use.name.clone();
    }
    if there.iter().any(|found| found.name == usual) { format!("{usual}-{definition}") } else { usual }
}

fn can_stand_beside(network: &Network, found: &NetworkFacts) -> bool {
    let subnet_taken = network.ipam.iter().filter_map(|range| range.subnet.as_ref());
    let mut subnet_taken = subnet_taken.filter(|subnet| found.subnets.contains(subnet));
    let option_taken = |option: &&str| {
        let wanted = network.driver_opts.get(*option);
        wanted.is_some() && wanted == found.options.get(*option)
    };
    subnet_taken.next().is_none() && !EXCLUSIVE.iter().any(option_taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::compose::model::Subnet;

    fn network(subnet: Option<&str>) -> Network {
        let range = |subnet: &str| Subnet { subnet: Some(subnet.to_owned()), ..Subnet::default() };
        Network { ipam: subnet.map(range).into_iter().collect(), ..Network::default() }
    }

    fn made(name: &str, network: &Network) -> NetworkFacts {
        NetworkFacts {
            name: name.to_owned(),
            id: String::new(),
            labels: BTreeMap::from([
                (label::NETWORK.to_owned(), "back".to_owned()),
                (label::DEFINITION.to_owned(), definition(network)),
            ]),
            options: network.driver_opts.clone(),
            subnets: network.ipam.iter().filter_map(|range| range.subnet.clone()).collect(),
            containers: 0,
        }
    }

    fn name_of(wanted: &Network, there: &[NetworkFacts]) -> String {
        let mut project = Project::default();
        project.networks.insert("back".to_owned(), wanted.clone());
        network_names(&"shop".parse().unwrap(), &project, there).remove("back").unwrap()
    }

    #[test]
    fn a_network_that_changed_gets_a_name_of_its_own_and_its_old_one_back() {
        let (first, second) = (network(None), network(Some("10.9.0.0/24")));
        assert_eq!(name_of(&first, &[]), "shop_back");
        assert_eq!(name_of(&first, &[made("shop_back", &first)]), "shop_back");
        let moved = format!("shop_back-{}", definition(&second));
        assert_eq!(name_of(&second, &[made("shop_back", &first)]), moved);
        // An attempt that was cut off left both; a committed one only the second.
        assert_eq!(name_of(&second, &[made("shop_back", &first), made(&moved, &second)]), moved);
        assert_eq!(name_of(&second, &[made(&moved, &second)]), moved);
        assert_eq!(name_of(&first, &[made(&moved, &second)]), "shop_back");
    }

    #[test]
    fn what_two_networks_cannot_share_keeps_the_old_one() {
        let first = network(Some("10.9.0.0/24"));
        let there = [made("shop_back", &first)];
        assert_eq!(name_of(&Network { internal: true, ..first.clone() }, &there), "shop_back");
        let bridge = |internal| Network {
            internal,
            driver_opts: [("com.docker.network.bridge.name".to_owned(), "br-plant".to_owned())].into(),
            ..Network::default()
        };
        assert_eq!(name_of(&bridge(true), &[made("shop_back", &bridge(false))]), "shop_back");
        // Somebody else's tool made it, and says nothing of its definition.
        let mut foreign = made("shop_back", &first);
        foreign.labels.remove(label::DEFINITION);
        assert_eq!(name_of(&network(None), &[foreign]), "shop_back");
        // A name in the Compose file means this very network.
        let named = Network { name: Some("plant".to_owned()), ..Network::default() };
        assert_eq!(name_of(&named, &there), "plant");
    }
}
