//! A NATS server that asks who is there: TLS, and a password or credentials.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::Settings;

/// What NATS asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// A user's name and password, as in the shipped configuration's example.
    Password,
    /// A user's JWT and key, in a file of credentials (NATS, decentralized authentication).
    Credentials,
}

const USER: (&str, &str) = ("nepto", "s3cret");

/// Both sides of it.
pub(crate) struct Guarded {
    guard: Guard,
    /// Lines for the server.
    pub configuration: String,
    /// What clients must trust.
    pub certificate: PathBuf,
    credentials: PathBuf,
}

impl Guarded {
    /// Makes certificate, keys and users in a folder.
    pub fn new(guard: Guard, folder: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let (certificate, key) = (folder.join("nats.pem"), folder.join("nats.key.pem"));
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let credentials = folder.join("nepto.creds");
        let users = match guard {
            Guard::Password => format!("authorization {{ user: {}, password: {} }}", USER.0, USER.1),
            Guard::Credentials => issue(&credentials)?,
        };
        let (certificate_path, key_path) = (certificate.display(), key.display());
        let tls = format!("tls {{ cert_file: \"{certificate_path}\", key_file: \"{key_path}\" }}");
        Ok(Self { guard, configuration: format!("{tls}\n{users}\n"), certificate, credentials })
    }

    /// How a server of Nepto gets in.
    pub fn settings(&self, port: u16) -> Settings {
        match self.guard {
            Guard::Password => Settings::new().set("nats.url", format!("tls://{}:{}@localhost:{port}", USER.0, USER.1)),
            Guard::Credentials => Settings::new()
                .set("nats.url", format!("nats://localhost:{port}"))
                .set("nats.credentials_file", self.credentials.to_string_lossy().into_owned()),
        }
    }
}

/// An operator, its account and its user; writes the user's credentials and returns the lines for the server.
fn issue(file: &Path) -> Result<String> {
    let (operator, user) = (KeyPair::new_operator(), KeyPair::new_user());
    let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
    let unlimited = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let operator_jwt = jwt(&operator, &operator, json!({ "type": "operator", "version": 2 }))?;
    let limits = json!({ "type": "account", "version": 2, "limits": unlimited });
    let account_jwt = jwt(&operator, &account, limits)?;
    // JetStream needs one for itself
    let system_jwt = jwt(&operator, &system, json!({ "type": "account", "version": 2 }))?;
    let rights = json!({ "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1 });
    let user_jwt = jwt(&account, &user, rights)?;
    let seed = user.seed()?;
    let credentials = format!(
        "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    std::fs::write(file, credentials).context("the credentials can't be written")?;
    let (account, system) = (account.public_key(), system.public_key());
    Ok(format!(
        "operator: {operator_jwt}\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload: {{ {account}: {account_jwt}, {system}: {system_jwt} }}"
    ))
}

fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> Result<String> {
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims =
        json!({ "jti": "test", "iat": 0, "iss": issuer.public_key(), "sub": subject.public_key(), "nats": nats });
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(head), part(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}
