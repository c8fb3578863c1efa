//! What an operator does with databases while nothing runs on them: makes their users, moves one to another server.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use nepto_kit::Config;
use nepto_kit::clock::Random;
use nepto_kit::config::UserOf;
use nepto_kit::db::{Databases, Export, define_users};
use nepto_kit::domain::Domain;

use crate::facets::Only;

/// The domains that have a database.
pub fn domains() -> Vec<Domain> {
    let mut domains = nepto_domains::all();
    domains.retain(|domain| domain.needs_database(true));
    domains
}

/// Refuses what is said of the database of a domain that does not exist.
pub fn check_names(config: &Config) -> Result<(), nepto_kit::config::ConfigError> {
    let names: Vec<_> = domains().iter().map(|domain| domain.name).collect();
    config.database.check_names(&names)
}

/// Users of single databases, and who makes them.
#[derive(clap::Args)]
pub struct Users {
    /// Who makes them: a user of the whole server
    #[arg(long, value_name = "NAME", default_value = "root")]
    root: String,
    /// File with that user's password
    #[arg(long, value_name = "FILE")]
    root_password_file: PathBuf,
    /// Also a user of each database who may only read, for exports
    #[arg(long, value_name = "NAME", requires = "export_password_file")]
    export_user: Option<String>,
    /// File with the password of the user who may only read
    #[arg(long, value_name = "FILE", requires = "export_user")]
    export_password_file: Option<PathBuf>,
    /// Only of these domains, comma-separated; without it of all that have `user_of = "database"`
    #[arg(long, value_delimiter = ',')]
    domains: Vec<String>,
}

impl Users {
    /// Makes them; those that are there get the passwords of the configuration.
    pub async fn make(&self, config: &Config) -> anyhow::Result<()> {
        let root_password = secret(&self.root_password_file)?;
        let export = match (&self.export_user, &self.export_password_file) {
            (Some(name), Some(file)) => Some(Export { name: name.clone(), password: secret(file)? }),
            _ => None,
        };
        let (domains, only) = (domains(), Only(&self.domains));
        only.check("domain with a database", &domains.iter().map(|domain| domain.name).collect())?;
        let chosen = domains.iter().map(|domain| (domain.name, config.database.of(domain.name)));
        let chosen: Vec<_> = match self.domains.is_empty() {
            true => chosen.filter(|(_, place)| place.user_of == UserOf::Database).collect(),
            false => chosen.filter(|(name, _)| only.takes(name)).collect(),
        };
        anyhow::ensure!(
            !chosen.is_empty(),
            "no database has users of its own: set database.user_of = \"database\", with their name and password file"
        );
        for (domain, place) in chosen {
            define_users(&place, domain, (&self.root, &root_password), export.as_ref()).await?;
            println!(
                "{domain}: {} may write{}",
                place.username,
                match &export {
                    Some(export) => format!(", {} may read", export.name),
                    None => String::new(),
                }
            );
        }
        Ok(())
    }
}

fn secret(file: &Path) -> anyhow::Result<String> {
    let password = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    anyhow::ensure!(!password.trim().is_empty(), "{} is empty", file.display());
    Ok(password.trim().to_owned())
}

/// Copies the database of a domain to where the configuration says, from where another one, or `[database]`, says.
pub async fn move_one(config: &Config, name: &str, from: Option<&Path>) -> anyhow::Result<()> {
    let (domains, chosen) = (domains(), [name.to_owned()]);
    Only(&chosen).check("domain with a database", &domains.iter().map(|domain| domain.name).collect())?;
    let domain = domains.iter().find(|domain| domain.name == name).context("it was checked")?;
    let place = match from {
        Some(file) => Config::load(Some(file), [], &nepto_domains::sections())?.database.of(name),
        None => config.database.common(),
    };
    anyhow::ensure!(
        place.url != config.database.of(name).url,
        "the configuration says that the database of {name} is where it was: name its new server under \
         [database.domains.{name}], or with --from a configuration that says where it was"
    );
    let style = ProgressStyle::with_template("{spinner} {msg}: {pos} rows, {per_sec}")?;
    let shown = ProgressBar::new_spinner().with_style(style);
    let databases = Databases::new(&config.database, Random::default());
    let copied = databases
        .copy_from(&place, name, domain.schema, |table, rows| {
            shown.set_message(table.to_owned());
            shown.set_position(rows);
        })
        .await?;
    shown.finish_and_clear();
    let width = copied.iter().map(|table| table.table.len()).max().unwrap_or(0);
    println!("{:width$}  {:>10}  SHA-256, HERE AND THERE", "TABLE", "ROWS");
    for table in &copied {
        println!("{:width$}  {:>10}  {}", table.table, table.rows, table.digest);
    }
    println!(
        "The database of {name} is moved. Start everything again; remove what is left where it was once you are content."
    );
    Ok(())
}
