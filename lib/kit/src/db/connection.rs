//! The way to SurrealDB: to a server, or to a store that this process opens itself.

use std::sync::Arc;

use surrealdb::engine::any::Any;
use surrealdb::engine::{any, local};
use surrealdb::opt::auth;
use surrealdb::types::Variables;
use surrealdb::{IndexedResults, Surreal};
use surrealdb_cnf::ConfigMap;
use surrealdb_core::kvs::Datastore;

use crate::config::UserOf;

/// The namespace of all databases.
pub const NAMESPACE: &str = "nepto";
/// Bytes that a store may take for blocks that it has read, and for what it has not written to its tables yet: twice the latter
/// while that is written. By itself it would take half of the machine's memory, and up to 4 GiB. A transaction fits into what is
/// not written yet. The names are those of SurrealDB, which has them in capitals in the environment, after `SURREAL_`.
pub const STORE_BOUNDS: [(&str, &str); 2] =
    [("surrealkv_block_cache_capacity", "134217728"), ("surrealkv_max_memtable_size", "33554432")];

/// Each clone is a session of its own, in whichever database it enters.
#[derive(Clone)]
pub enum Connection {
    /// To a store of this process, and the store.
    Store(Surreal<local::Db>, Arc<Datastore>),
    /// To a server.
    Server(Surreal<Any>),
}

/// Who signs in.
#[derive(Clone)]
pub struct User {
    pub name: String,
    pub password: String,
    pub of: UserOf,
}

impl Connection {
    /// Opens a store, or connects to a server.
    pub async fn new(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("surrealkv://") || url.starts_with("mem://") {
            let (session, store) = open(url).await?;
            return Ok(Self::Store(session, store));
        }
        Ok(Self::Server(any::connect(url).await?))
    }

    /// To a server, as a user of all of it, who is in no database yet.
    pub async fn sign_in(&self, user: User) -> surrealdb::Result<()> {
        match self {
            Self::Store(..) => Ok(()),
            Self::Server(server) => {
                server.signin(auth::Root { username: user.name, password: user.password }).await.map(drop)
            }
        }
    }

    /// From now on statements are about this database. A server is told who says so, if anybody does.
    pub async fn enter(&self, database: &str, user: Option<&User>) -> surrealdb::Result<()> {
        let server = match self {
            Self::Store(session, _) => return session.use_ns(NAMESPACE).use_db(database).await.map(drop),
            Self::Server(server) => server,
        };
        match user.cloned() {
            None => {}
            Some(User { name: username, password, of: UserOf::Server }) => {
                server.signin(auth::Root { username, password }).await?;
            }
            Some(User { name: username, password, of: UserOf::Database }) => {
                let (namespace, database) = (NAMESPACE.to_owned(), database.to_owned());
                server.signin(auth::Database { namespace, database, username, password }).await?;
            }
        }
        server.use_ns(NAMESPACE).use_db(database).await.map(drop)
    }

    /// Runs statements.
    pub async fn query(&self, statements: &str, variables: Variables) -> surrealdb::Result<IndexedResults> {
        match self {
            Self::Store(session, _) => session.query(statements).bind(variables).await,
            Self::Server(server) => server.query(statements).bind(variables).await,
        }
    }
}

/// A store as it is on the disk. Nothing is written into it yet.
pub(super) async fn build(url: &str) -> anyhow::Result<Arc<Datastore>> {
    let mut config = ConfigMap::empty();
    for (name, bytes) in STORE_BOUNDS {
        config = config.with_key_value(name, bytes);
    }
    let config = config.join(ConfigMap::from_env());
    // maintenance writes, which must not come before the version is written
    Datastore::builder().with_config(config).without_maintenance_tasks().build_with_path(url).await
}

/// What the library does when it connects to a store, except that this one is bounded.
async fn open(url: &str) -> anyhow::Result<(Surreal<local::Db>, Arc<Datastore>)> {
    let store = build(url).await?;
    store.check_version().await?;
    store.bootstrap().await?;
    store.start_maintenance_tasks();
    Ok((Surreal::unstable_from_datastore(store.clone(), None).await?, store))
}

#[cfg(test)]
mod tests {
    use surrealdb::types::{Bytes, vars};

    use super::*;

    /// The bound that one can run into.
    #[tokio::test]
    async fn an_embedded_store_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("surrealkv://{}", folder.path().display());
        let connection = Connection::new(&url).await.unwrap();
        connection.enter("test", None).await.unwrap();
        let write = async |bytes: usize| {
            let value = vars! { value: Bytes::from(vec![1; bytes]) };
            let mut results = connection.query("CREATE row SET value = $value RETURN NONE", value).await.unwrap();
            results.take_errors().is_empty()
        };
        assert!(write(8 << 20).await);
        assert!(!write(40 << 20).await, "more than what may be unwritten");
        assert!(write(8 << 20).await, "the store goes on");
    }
}
