//! A path on the command line that is about one of several stores: `[DOMAIN=]PATH`.

use std::path::PathBuf;

use anyhow::ensure;

/// A path for the store with the database of one domain; without a domain for that at `database.url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    domain: Option<String>,
    path: PathBuf,
}

impl Named {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (domain, path) = match text.split_once('=') {
            Some((domain, path)) if !domain.contains('/') => (Some(domain.to_owned()), path),
            _ => (None, text),
        };
        match path {
            "" => Err("names no path".to_owned()),
            path => Ok(Self { domain, path: path.into() }),
        }
    }

    /// The path for the store with the databases of these domains. Who names a domain says more than who names none.
    pub fn for_store<'a>(all: &'a [Self], domains: &[String], is_common: bool) -> Option<&'a PathBuf> {
        let is_meant = |named: &&Self| match &named.domain {
            Some(domain) => domains.contains(domain),
            None => is_common,
        };
        all.iter().filter(is_meant).max_by_key(|named| named.domain.is_some()).map(|named| &named.path)
    }

    /// Refuses a domain that none of these stores has.
    pub fn check<'a>(all: &[Self], stores: impl Iterator<Item = &'a [String]> + Clone) -> anyhow::Result<()> {
        for domain in all.iter().filter_map(|named| named.domain.as_ref()) {
            ensure!(
                stores.clone().any(|domains| domains.contains(domain)),
                "there is no database of a domain {domain:?}; there are those of {}",
                stores.flatten().map(String::as_str).collect::<Vec<_>>().join(", ")
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_for_one_store_or_for_the_common_one() {
        let all: Vec<Named> =
            ["/all", "keys=/keys", "/a=b"].map(|text| Named::parse(text).unwrap()).into_iter().collect();
        let path = |domains: &[&str], is_common| {
            let domains: Vec<String> = domains.iter().map(|name| (*name).to_owned()).collect();
            Named::for_store(&all[..2], &domains, is_common).map(|path| path.display().to_string())
        };
        assert_eq!(path(&["auth", "keys"], true).as_deref(), Some("/keys"));
        assert_eq!(path(&["auth"], true).as_deref(), Some("/all"));
        assert_eq!(path(&["auth"], false), None);
        assert_eq!(all[2], Named { domain: None, path: "/a=b".into() });
        assert!(Named::parse("keys=").is_err() && Named::parse("").is_err());
        let stores = [vec!["auth".to_owned()]];
        let refused = Named::check(&all[1..2], stores.iter().map(Vec::as_slice)).unwrap_err().to_string();
        assert!(refused.contains("\"keys\"; there are those of auth"), "{refused}");
    }
}
