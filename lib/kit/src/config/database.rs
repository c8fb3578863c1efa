//! `[database]`: where the databases are, one for each domain, and who signs in to them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;

/// Where SurrealDB is, and who signs in to it. A domain may have a server of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `surrealkv://<folder>` embedded in this process, or `ws://<host>:<port>` of a server.
    pub url: String,
    /// User of a server; not used when embedded.
    pub username: String,
    /// File with the password of that user, so that it stands in no configuration.
    pub password_file: Option<PathBuf>,
    /// What that user is a user of.
    pub user_of: UserOf,
    /// What is different for the databases of some domains, by the domain's name.
    pub domains: BTreeMap<String, Elsewhere>,
}

/// What is different for the database of one domain. What is not said is as for all others.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Elsewhere {
    /// `ws://<host>:<port>` of its server.
    pub url: Option<String>,
    /// Its user.
    pub username: Option<String>,
    /// File with the password of that user.
    pub password_file: Option<PathBuf>,
    /// What that user is a user of.
    pub user_of: Option<UserOf>,
}

/// What a user of SurrealDB is a user of: he may do nothing beyond it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserOf {
    /// The whole server, with all databases and users in it.
    #[default]
    Server,
    /// Each domain's database for itself. `nepto-server database-users` makes these.
    Database,
}

/// Where one database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Of its server, or of the store that this process opens.
    pub url: String,
    /// Who signs in.
    pub username: String,
    /// File with his password; without one nobody signs in.
    pub password_file: Option<PathBuf>,
    /// What he is a user of.
    pub user_of: UserOf,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "surrealkv://.nepto/database".into(),
            username: "root".into(),
            password_file: None,
            user_of: UserOf::Server,
            domains: BTreeMap::new(),
        }
    }
}

impl Database {
    /// Where the databases are of which nothing else is said.
    pub fn common(&self) -> Place {
        Place {
            url: self.url.clone(),
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            user_of: self.user_of,
        }
    }

    /// Where the database of a domain is.
    pub fn of(&self, domain: &str) -> Place {
        let all = self.common();
        let Some(own) = self.domains.get(domain) else { return all };
        Place {
            url: own.url.clone().unwrap_or(all.url),
            username: own.username.clone().unwrap_or(all.username),
            password_file: own.password_file.clone().or(all.password_file),
            user_of: own.user_of.unwrap_or(all.user_of),
        }
    }

    /// That there is such a domain for everything that is said of one.
    pub fn check_names(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.domains.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let problem = format!("there is no domain {name:?} with a database; there are {}", known.join(", "));
                Err(ConfigError::value("database.domains", problem))
            }
        }
    }
}

impl Place {
    /// Whether it is a store that this process opens itself.
    pub fn is_embedded(&self) -> bool {
        is_embedded(&self.url)
    }
}

fn is_embedded(url: &str) -> bool {
    !is_server(url)
}

fn is_server(url: &str) -> bool {
    url.starts_with("ws://") || url.starts_with("wss://")
}

pub(super) fn check(database: &Database) -> Result<(), ConfigError> {
    let bad = |field, problem: String| Err(ConfigError::value(field, problem));
    if !["surrealkv://", "mem://", "ws://", "wss://"].iter().any(|scheme| database.url.starts_with(scheme)) {
        return bad(
            "database.url",
            "must be surrealkv://<folder>, or ws://<host>:<port> or wss://<host> of a server".to_owned(),
        );
    }
    if is_embedded(&database.url) && database.user_of == UserOf::Database {
        return bad("database.user_of", "an embedded database has no users: leave it out, or name a server".to_owned());
    }
    for (domain, own) in &database.domains {
        match &own.url {
            Some(url) if !is_server(url) => {
                let problem = format!(
                    "{domain}.url must be ws://<host>:<port> of a server: what this process embeds is one store for all \
                     domains, at database.url"
                );
                return bad("database.domains", problem);
            }
            None if is_embedded(&database.url) => {
                let problem = format!(
                    "{domain} has a user and no url, and the database at database.url is embedded: name the server of this \
                     domain, or leave it out"
                );
                return bad("database.domains", problem);
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, UserOf};

    const TWO: &str = r#"
        [database]
        url = "ws://10.0.0.2:8000"
        password_file = "all"
        [database.domains.keys]
        url = "ws://10.0.0.3:8000"
        username = "nepto"
        user_of = "database"
    "#;

    #[test]
    fn a_domain_has_a_server_of_its_own_and_shares_what_is_not_said() {
        let config = Config::parse(TWO, [], &[]).unwrap().database;
        let (keys, auth) = (config.of("keys"), config.of("auth"));
        assert_eq!((keys.url.as_str(), keys.username.as_str()), ("ws://10.0.0.3:8000", "nepto"));
        assert_eq!((keys.user_of, keys.password_file.as_deref()), (UserOf::Database, Some(Path::new("all"))));
        assert_eq!(auth, config.common());
        assert_eq!(
            (auth.url.as_str(), auth.username.as_str(), auth.user_of),
            ("ws://10.0.0.2:8000", "root", UserOf::Server)
        );
        // the environment sets all of them together
        let set = ("NEPTO_DATABASE__DOMAINS".to_owned(), "{ auth = { url = \"ws://10.0.0.4:8000\" } }".to_owned());
        let config = Config::parse(TWO, [set], &[]).unwrap().database;
        assert_eq!(
            (config.of("auth").url.as_str(), config.of("keys").username.as_str()),
            ("ws://10.0.0.4:8000", "root")
        );
    }

    #[test]
    fn a_name_that_is_no_domain_is_refused_with_those_that_are() {
        let config = Config::parse(TWO, [], &[]).unwrap().database;
        config.check_names(&["auth", "keys"]).unwrap();
        let error = config.check_names(&["auth", "accounts"]).unwrap_err().to_string();
        assert!(error.contains("\"keys\"") && error.contains("auth, accounts"), "{error}");
        let unknown = TWO.replace("user_of", "users_of");
        assert!(Config::parse(&unknown, [], &[]).unwrap_err().to_string().contains("users_of"));
    }

    #[test]
    fn an_embedded_store_is_one_for_all_and_has_no_users() {
        for (text, said) in [
            ("[database]\nurl = \"http://10.0.0.2:8000\"", "database.url"),
            ("[database]\nuser_of = \"database\"", "database.user_of"),
            ("[database.domains.keys]\nurl = \"surrealkv://elsewhere\"", "keys.url"),
            ("[database.domains.keys]\nusername = \"nepto\"", "keys has a user and no url"),
        ] {
            let error = Config::parse(text, [], &[]).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        // what is embedded, and one that is not
        Config::parse("[database.domains.keys]\nurl = \"ws://10.0.0.3:8000\"", [], &[]).unwrap();
    }
}
