//! The server's configuration for this machine: its defaults, with addresses and folders of this run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Options;

/// Writes `<data>/server.toml` and returns its path.
pub fn write(data: &Path, options: &Options) -> Result<PathBuf> {
    let path = data.join("server.toml");
    fs::write(&path, text(data, options)?)?;
    Ok(path)
}

fn text(data: &Path, options: &Options) -> Result<String> {
    let Options { port, admin_port, nats_port, redis_port, .. } = options;
    let database = quoted("surrealkv://", &data.join("database"))?;
    let signing = quoted("", &data.join("keys/tokens.pem"))?;
    let verifying = quoted("", &data.join("keys/tokens.pub.pem"))?;
    Ok(format!(
        r#"# Written by `cargo xtask up` at every start.

[http]
listen = "127.0.0.1:{port}"

[admin]
listen = "127.0.0.1:{admin_port}"

[public]
domain = "localhost:{port}"
uri = "http://localhost:{port}"
sockets = ["ws://localhost:{port}/v1/socket"]

[nats]
url = "nats://127.0.0.1:{nats_port}"

[redis]
url = "redis://127.0.0.1:{redis_port}"

[database]
url = {database}

[tokens]
signing_key_file = {signing}
verifying_key_file = {verifying}

[log]
format = "text"
"#
    ))
}

/// A TOML string; JSON's escapes are valid in it.
fn quoted(prefix: &str, path: &Path) -> Result<String> {
    let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(serde_json::to_string(&format!("{prefix}{path}"))?)
}
