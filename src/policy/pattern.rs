//! Patterns by which the configuration names nodes, collections and resource groups: `*` stands for any text, `?` for
//! one character, everything else for itself.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::model::{Collection, Node};
use crate::units::{CollectionId, NodeId};

/// Milvus' name for the database of whoever names none; servers without databases have nothing else.
const DEFAULT_DATABASE: &str = "default";

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// Whether a text is of this form.
    pub fn matches(&self, text: &str) -> bool {
        WildMatch::new(&self.0).matches(text)
    }

    /// Whether it means this node: by its id, its host name, its address `host:port`, or the host of that address. An id
    /// is that of a session and dies with the process; names outlive it.
    pub fn matches_node(&self, node: &Node) -> bool {
        self.names_node(node.id, &node.address, node.hostname.as_deref())
    }

    /// The same for a node of which this much is known.
    pub fn names_node(&self, id: NodeId, address: &str, hostname: Option<&str>) -> bool {
        let host = address.rsplit_once(':').map(|(host, _)| host);
        let names = [hostname, Some(address), host];
        let is_named = names.into_iter().flatten().any(|name| !name.is_empty() && self.matches(name));
        is_named || self.0 == id.to_string()
    }

    /// Whether it means this collection: by its id, by its name in any database, or, with a dot in the pattern, by
    /// `database.name`.
    pub fn matches_collection(&self, collection: &Collection) -> bool {
        self.names_collection(collection.id, &collection.database, &collection.name)
    }

    /// The same for a collection of which this much is known.
    pub fn names_collection(&self, id: CollectionId, database: &str, name: &str) -> bool {
        if self.0 == id.to_string() {
            return true;
        }
        if !self.0.contains('.') {
            return self.matches(name);
        }
        let database = if database.is_empty() { DEFAULT_DATABASE } else { database };
        self.matches(&format!("{database}.{name}"))
    }
}

impl FromStr for Pattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Pattern(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A list of patterns, as an option has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(#[serde(with = "crate::config::list")] pub Vec<Pattern>);

impl Patterns {
    /// Those of a text with commas.
    pub fn of(text: &str) -> Patterns {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Patterns(parts.map(|part| Pattern(part.to_owned())).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them matches.
    pub fn any(&self, matches: impl Fn(&Pattern) -> bool) -> bool {
        self.0.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BytesSource, Standing};

    fn node(address: &str, hostname: Option<&str>) -> Node {
        Node {
            id: NodeId(17),
            address: address.to_owned(),
            hostname: hostname.map(str::to_owned),
            standing: Standing::ReadWrite,
            memory_capacity: None,
            memory_used: None,
            growing: None,
            unexplained_memory: None,
            reported_sealed: None,
            version: String::new(),
            component: None,
        }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern(text.to_owned())
    }

    #[test]
    fn a_node_is_found_by_id_name_address_and_host() {
        let known = node("10.0.0.7:21123", Some("querynode-7.pod"));
        for text in ["17", "querynode-7*", "querynode-?.pod", "10.0.0.7", "10.0.0.*", "10.0.0.7:21123", "*"] {
            assert!(pattern(text).matches_node(&known), "{text}");
        }
        for text in ["1", "7", "querynode", "10.0.0", "10.0.0.7:2112", "Querynode-7*", "1?"] {
            assert!(!pattern(text).matches_node(&known), "{text}");
        }
        assert!(!pattern("*").matches_node(&node("", None)), "nothing is known of it but its id");
        assert!(pattern("17").matches_node(&node("", None)));
    }

    #[test]
    fn a_collection_is_found_by_id_name_and_database() {
        let collection = |database: &str, name: &str| Collection {
            id: CollectionId(9),
            database: database.to_owned(),
            name: name.to_owned(),
            load_percentage: 100,
            read_at: jiff::Timestamp::UNIX_EPOCH,
            bytes_source: BytesSource::Guessed,
        };
        let known = collection("shop", "items_2026");
        for text in ["9", "items_*", "shop.*", "*.items_2026", "shop.items_????", "*"] {
            assert!(pattern(text).matches_collection(&known), "{text}");
        }
        for text in ["items", "shop", "default.*", "shop.items"] {
            assert!(!pattern(text).matches_collection(&known), "{text}");
        }
        assert!(pattern("default.x").matches_collection(&collection("", "x")));
        assert!(!pattern("other.x").matches_collection(&collection("", "x")));
    }
}
