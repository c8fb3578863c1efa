//! Every secret becomes another one, as the table in `ansible/README.md` says, and the old one opens nothing any more.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::network::here;
use super::trial::Trial;
use crate::deploy::engine::said;

/// Those of which the old one is taken beside the new one until it is forgotten.
const LISTS: [&str; 3] = ["nats_passwords", "redis_passwords", "redis_internal_passwords"];
/// No error.
const TAKEN: &str = "taken";
/// Says what NATS answers to a password.
const ASK_NATS: &str = r#"user="nepto-$(printf %s "$PASSWORD" | sha256sum | cut -c 1-8)"
exec 3<> "/dev/tcp/$ADDRESS/4222"
read -r info <&3
printf 'CONNECT {"user":"%s","pass":"%s","verbose":true}\r\n' "$user" "$PASSWORD" >&3
read -r answer <&3
echo "$answer""#;

impl Trial<'_> {
    /// All of them, in three rounds: what hardly anybody notices while people write, and then what they do.
    pub fn rotate(&mut self) -> Result<()> {
        let before = self.secrets()?;
        // Redis closes its connections when it reads its users again: who signs in just then may be refused
        self.what_people_notice(|trial| {
            LISTS.iter().try_for_each(|secret| trial.another(secret, &[]))?;
            trial.site()?;
            let meanwhile = trial.secrets()?;
            for secret in LISTS {
                ensure!(meanwhile[secret][1] == before[secret][0], "the old one of {secret} was not kept");
                for (which, password) in [("new", &meanwhile[secret][0]), ("old", &before[secret][0])] {
                    ensure!(trial.opens(secret, password)?, "the {which} one of {secret} is not taken");
                }
            }
            println!("  new ones are taken beside old ones");
            LISTS.iter().try_for_each(|secret| trial.another(secret, &["--extra-vars", "forget=true"]))?;
            if trial.is_split() {
                trial.another("nats_cluster_password", &[])?;
                trial.another("database_root_password", &[])?;
            }
            trial.site()
        })?;
        let after = self.secrets()?;
        for secret in LISTS {
            ensure!(self.opens(secret, &after[secret][0])?, "the new one of {secret} is not taken");
            ensure!(!self.opens(secret, &before[secret][0])?, "the old one of {secret} is still taken");
        }
        if self.is_split() {
            let root = "database_root_password";
            ensure!(self.opens(root, &after[root])?, "the databases' owner did not get the new password");
            ensure!(!self.opens(root, &before[root])?, "the databases' owner still has the old password");
        }
        println!("  old ones are refused");
        self.rotate_what_is_noticed()
    }

    /// The databases' password, and the key of tokens, after which everybody signs in again.
    fn rotate_what_is_noticed(&mut self) -> Result<()> {
        let token = self.token()?;
        ensure!(self.answer_to(&token)? == TAKEN, "a token is not taken before its key becomes another one");
        if self.is_split() {
            let before = self.secrets()?;
            self.another("database_password", &[])?;
            self.another("nepto_tokens_key", &[])?;
            self.site()?;
            let after = self.secrets()?;
            let secret = "database_password";
            ensure!(self.opens(secret, &after[secret])?, "the databases' user did not get the new password");
            ensure!(!self.opens(secret, &before[secret])?, "the databases' user still has the old password");
        } else {
            let host = self.machines.host(&self.inventory.group("nepto_all")[0])?;
            host.run(&["sh", "-c", "rm /var/lib/nepto/keys/tokens*.pem"])?;
            host.run(&["systemctl", "restart", "nepto-all"])?;
            self.administrator.play("self_check", &[])?;
        }
        // also one that is too old by now: the signature is looked at first
        let answer = self.answer_to(&token)?;
        ensure!(answer == "token_invalid", "a token of before is answered with {answer}");
        println!("  a token of before is refused, and two people have signed in again");
        self.site()?.changed_nothing()
    }

    fn another(&mut self, secret: &str, arguments: &[&str]) -> Result<()> {
        let secret = format!("secret={secret}");
        self.administrator.play("rotate", &[&["--extra-vars", &secret], arguments].concat()).map(drop)
    }

    /// What is in the vault.
    fn secrets(&self) -> Result<Value> {
        let host = self.inventory.addresses.keys().next().context("there are no hosts")?;
        self.administrator.variables(host)
    }

    /// Whether what it protects lets one in with this password.
    fn opens(&self, secret: &str, password: &Value) -> Result<bool> {
        let password = password.as_str().with_context(|| format!("{secret} is no text"))?;
        let answer = match secret {
            "nats_passwords" => {
                let (host, address) = self.one_of("nats")?;
                let mut ask = self.machines.host(&host)?.command(&["bash", "-c", ASK_NATS]);
                said(ask.env("PASSWORD", password).env("ADDRESS", address))?
            }
            "redis_passwords" | "redis_internal_passwords" => {
                let user = if secret == "redis_passwords" { "nepto" } else { "operator" };
                let (host, _) = self.one_of("redis")?;
                let mut ask = self.machines.host(&host)?.command(&["redis-cli", "--user", user, "ping"]);
                said(ask.env("REDISCLI_AUTH", password))?
            }
            _ => return self.opens_database(secret, password),
        };
        Ok(matches!(answer.trim(), "+OK" | "PONG"))
    }

    fn opens_database(&self, secret: &str, password: &str) -> Result<bool> {
        let (host, address) = self.one_of("database")?;
        let mut ask = self.curl_at(&host)?;
        ask.args(["--write-out", "%{http_code}", "--output", "/dev/null", "--header", "Accept: application/json"]);
        if secret == "database_root_password" {
            ask.args(["--user", &format!("root:{password}")]);
        } else {
            ask.args(["--user", &format!("nepto:{password}")]);
            for of in ["surreal-ns: nepto", "surreal-auth-ns: nepto", "surreal-db: auth", "surreal-auth-db: auth"] {
                ask.args(["--header", of]);
            }
        }
        let status = said(ask.args(["--data", "RETURN 1", &format!("http://{address}:8000/sql")]))?;
        ensure!(matches!(status.as_str(), "200" | "401"), "the database answers {status}");
        Ok(status == "200")
    }

    fn one_of(&self, group: &str) -> Result<(String, String)> {
        let host = self.inventory.group(group).first().with_context(|| format!("no host is in the group {group}"))?;
        Ok((host.clone(), self.address(host)))
    }

    /// A token of one of the two people whom the playbooks let talk.
    fn token(&self) -> Result<String> {
        let people: PathBuf = self.people();
        let mut nepto = here(self.client());
        nepto.arg("--profile").arg(people.join("one")).arg("--passphrase-file").arg(people.join("passphrase"));
        said(nepto.arg("token").env("SSL_CERT_FILE", self.certificate()?))
    }

    /// What the server answers to a token: `TAKEN`, or the code of its error.
    fn answer_to(&self, token: &str) -> Result<String> {
        let mut curl = here("curl");
        curl.args(["--silent", "--show-error", "--cacert"]).arg(self.certificate()?);
        curl.args(["--header", &format!("Authorization: Bearer {token}")]);
        let answer: Value = serde_json::from_str(&said(curl.arg("https://chat.example.org/v1/accounts/me"))?)?;
        Ok(answer["code"].as_str().unwrap_or(TAKEN).to_owned())
    }
}
