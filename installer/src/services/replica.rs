//! A replica of a service: what is compared, replaced and put back one by one.

use crate::engine::label;
use manifest_schema::ServiceName;
use manifest_schema::names::BadName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

/// A service and the number of one of its containers, from 1. Written `web` for the first, `web/2` for the second.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Replica {
    service: ServiceName,
    number: NonZeroU16,
}

/// The text names no replica.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReplica {
    /// No service can have this name.
    #[error(transparent)]
    Service(#[from] BadName),
    /// The number is none, or not written as a replica's is.
    #[error("`{0}` is not the number of a replica")]
    Number(String),
}

impl Replica {
    /// The replica of `service` with this number.
    #[must_use]
    pub const fn new(service: ServiceName, number: NonZeroU16) -> Self {
        Self { service, number }
    }

    /// The first replica of `service`.
    #[must_use]
    pub const fn first(service: ServiceName) -> Self {
        Self::new(service, NonZeroU16::MIN)
    }

    /// The replica that a container with these labels is; `None` where no service is named.
    #[must_use]
    pub fn of(labels: &BTreeMap<String, String>) -> Option<Self> {
        let service = labels.get(label::SERVICE)?.parse().ok()?;
        let number = labels.get(label::NUMBER).and_then(|number| number.parse().ok());
        Some(Self::new(service, number.unwrap_or(NonZeroU16::MIN)))
    }

    /// The service.
    #[must_use]
    pub const fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Its number, from 1.
    #[must_use]
    pub const fn number(&self) -> NonZeroU16 {
        self.number
    }
}

impl FromStr for Replica {
    type Err = BadReplica;

    fn from_str(text: &str) -> Result<Self, BadReplica> {
        let Some((service, number)) = text.split_once('/') else { return Ok(Self::first(text.parse()?)) };
        let parsed = number.parse().ok().filter(|parsed: &NonZeroU16| parsed.to_string() == number);
        let parsed = parsed.filter(|parsed| *parsed > NonZeroU16::MIN);
        let number = parsed.ok_or_else(|| BadReplica::Number(number.chars().take(20).collect()))?;
        Ok(Self::new(service.parse()?, number))
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.number == NonZeroU16::MIN {
            f.pad(self.service.as_str())
        } else {
            f.pad(&format!("{}/{}", self.service, self.number))
        }
    }
}

manifest_schema::text_form!(Replica);

/// Replicas as a list for people: `web, web/2`.
pub(crate) fn listed<'a>(replicas: impl IntoIterator<Item = &'a Replica>) -> String {
    let names: Vec<String> = replicas.into_iter().map(ToString::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_read_as_they_are_written() {
        for text in ["web", "web/2", "web-a/65535", "a.b_c"] {
            let replica: Replica = text.parse().unwrap();
            assert_eq!(replica.to_string(), text);
            assert_eq!(serde_json::to_string(&replica).unwrap(), format!("{text:?}"));
        }
        assert_eq!(format!("{:<6}|", "web/2".parse::<Replica>().unwrap()), "web/2 |");
        for bad in ["", "/2", "web/", "web/0", "web/1", "web/02", "web/-1", "web/2/3", "web/65536", "a b"] {
            assert!(bad.parse::<Replica>().is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_name_the_replica() {
        let labels = |number: Option<&str>| {
            let service = (label::SERVICE.to_owned(), "web".to_owned());
            let number = number.map(|number| (label::NUMBER.to_owned(), number.to_owned()));
            std::iter::once(service).chain(number).collect::<BTreeMap<_, _>>()
        };
        for (number, replica) in [(Some("1"), "web"), (Some("3"), "web/3"), (None, "web"), (Some("x"), "web")]
        {
            assert_eq!(Replica::of(&labels(number)).unwrap().to_string(), replica);
        }
        assert_eq!(Replica::of(&BTreeMap::new()), None);
    }
}
