//! Which databases are in one store, and so of one moment: those of one server, or of the process that embeds them.

use nepto_kit::config::{Database, Place};

use crate::databases;

/// A store, and the domains whose databases are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Where the first of them is; the others differ by who signs in, at most.
    pub place: Place,
    /// Their names.
    pub domains: Vec<String>,
}

/// The stores of a configuration, in the order in which their moments may follow each other: what a pipeline of `assets` has taken
/// of a chain must be in `collector` too, which is therefore the last. A pipeline that was ahead would pass over what comes next.
pub fn of(config: &Database) -> Vec<Store> {
    let mut stores: Vec<Store> = Vec::new();
    for domain in databases::domains() {
        let (place, name) = (config.of(domain.name), domain.name.to_owned());
        match stores.iter_mut().find(|store| store.place.url == place.url) {
            Some(store) => store.domains.push(name),
            None => stores.push(Store { place, domains: vec![name] }),
        }
    }
    stores.sort_by_key(|store| store.domains.iter().any(|domain| domain == "collector"));
    stores
}

#[cfg(test)]
mod tests {
    use nepto_kit::config::Elsewhere;

    use super::*;

    #[test]
    fn domains_of_one_server_are_in_one_store() {
        let mut config = Database { url: "ws://10.0.0.2:8000".to_owned(), ..Database::default() };
        let all: Vec<String> = databases::domains().iter().map(|domain| domain.name.to_owned()).collect();
        assert_eq!(of(&config), [Store { place: config.common(), domains: all.clone() }]);
        let alone = Elsewhere { url: Some("ws://10.0.0.4:8000".to_owned()), ..Elsewhere::default() };
        let mut apart = config.clone();
        apart.domains.insert("collector".to_owned(), alone);
        assert_eq!(of(&apart).pop().unwrap().domains, ["collector"], "the moment of `assets` is before");
        let other = Elsewhere { url: Some("ws://10.0.0.3:8000".to_owned()), ..Elsewhere::default() };
        let same = Elsewhere { username: Some("nepto".to_owned()), ..Elsewhere::default() };
        config.domains.insert("keys".to_owned(), other.clone());
        config.domains.insert("assets".to_owned(), other);
        config.domains.insert("accounts".to_owned(), same);
        let mut stores = of(&config);
        stores.sort_by(|one, other| one.place.url.cmp(&other.place.url));
        let moved = ["keys", "assets"];
        assert_eq!(stores.len(), 2);
        assert!(moved.iter().all(|name| stores[1].domains.iter().any(|domain| domain == name)), "{stores:?}");
        assert_eq!(stores[1].domains.len(), moved.len());
        assert_eq!(stores[0].domains.len(), all.len() - moved.len());
    }
}
