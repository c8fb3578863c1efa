//! Users of SurrealDB that may do no more than they have to.
//!
//! A process works in its database as an *editor*: it reads and writes rows and changes tables, and can neither make users, nor
//! remove the database, nor look into another one. For exports there is a *viewer*. Both belong to one database; who makes them
//! is a user of the whole server, whom no process needs (tried against a server in `lib/testkit/tests/it/databases.rs`).

use anyhow::{Context as _, bail, ensure};
use surrealdb::types::{ToSql, Value, Variables};

use super::connection::{Connection, NAMESPACE, User};
use crate::address;
use crate::config::{Place, UserOf};

/// A user who may only read.
#[derive(Debug, Clone)]
pub struct Export {
    /// His name.
    pub name: String,
    /// His password.
    pub password: String,
}

/// Makes the database of a domain at a place where there is none, and its users. Those that are there get these passwords. `root`
/// and his password are of the whole server.
pub async fn define_users(
    place: &Place,
    domain: &str,
    root: (&str, &str),
    export: Option<&Export>,
) -> anyhow::Result<()> {
    ensure!(
        !place.is_embedded() && place.user_of == UserOf::Database,
        "the database of {domain} has no users of its own: set database.user_of = \"database\", for all or for it"
    );
    let Some(editor) = super::user(place)? else { bail!("database.password_file names no password for {domain}") };
    ensure!(!editor.password.is_empty(), "the password of {domain}'s user is empty");
    let mut statements = vec![
        format!("DEFINE NAMESPACE IF NOT EXISTS {NAMESPACE}"),
        format!("USE NS {NAMESPACE}"),
        format!("DEFINE DATABASE IF NOT EXISTS {}", name(domain)?),
        format!("USE NS {NAMESPACE} DB {}", name(domain)?),
        user(&editor.name, &editor.password, "EDITOR")?,
    ];
    if let Some(Export { name, password }) = export {
        ensure!(*name != editor.name, "{name:?} is the user who writes: who exports needs another name");
        statements.push(user(name, password, "VIEWER")?);
    }
    let at = address::shown(&place.url);
    let defined = async {
        let server = Connection::new(&place.url).await?;
        let (username, password) = root;
        let root = User { name: username.to_owned(), password: password.to_owned(), of: UserOf::Server };
        server.sign_in(root).await?;
        let mut answers = server.query(&statements.join(";\n"), Variables::new()).await?;
        match answers.take_errors().into_values().next() {
            Some(error) => Err(anyhow::Error::from(error)),
            None => Ok(()),
        }
    };
    defined.await.with_context(|| format!("the users of {domain} at {at} can't be made"))
}

fn user(who: &str, password: &str, role: &str) -> anyhow::Result<String> {
    let password = Value::String(password.to_owned()).to_sql();
    Ok(format!("DEFINE USER OVERWRITE {} ON DATABASE PASSWORD {password} ROLES {role}", name(who)?))
}

/// A name as it may stand in a statement.
fn name(text: &str) -> anyhow::Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    ensure!(!text.is_empty() && text.chars().all(is_plain), "{text:?} is no name: letters, digits, - and _");
    Ok(format!("`{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_name_nor_a_password_becomes_a_statement() {
        assert!(name("x`; REMOVE NAMESPACE nepto; --").is_err());
        assert!(name("").is_err());
        let written = user("nepto", "it's \\ \"quoted\"'; REMOVE NAMESPACE nepto", "EDITOR").unwrap();
        let literal = written.split_once("PASSWORD ").unwrap().1.strip_suffix(" ROLES EDITOR").unwrap();
        let quote = literal.chars().next().unwrap();
        assert!(quote == '\'' || quote == '"', "{literal}");
        let inside = &literal[1..literal.len() - 1];
        let bare = inside.replace("\\\\", "").replace(&format!("\\{quote}"), "");
        assert!(!bare.contains(quote), "{literal}");
    }
}
