//! The server's configuration for this machine: its defaults, with addresses and folders of this run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nepto_files::Readers;

use super::Options;
use super::chain::{Chain, Finality};

/// Writes `<data>/server.toml` and returns its path.
pub fn write(data: &Path, options: &Options, chain: &Chain) -> Result<PathBuf> {
    let path = data.join("server.toml");
    nepto_files::write(&path, text(data, options, chain)?, Readers::Owner)?;
    Ok(path)
}

fn text(data: &Path, options: &Options, chain: &Chain) -> Result<String> {
    let Options { port, admin_port, nats_port, redis_port, .. } = options;
    let database = quoted("surrealkv://", &data.join("database"))?;
    let signing = quoted("", &data.join("keys/tokens.pem"))?;
    let verifying = quoted("", &data.join("keys/tokens.pub.pem"))?;
    let images = quoted("", &data.join("images"))?;
    let media = quoted("", &data.join("media"))?;
    let (signed_chains, chain) = (signed_chains(chain), chain_text(chain)?);
    Ok(format!(
        r#"# Written by `cargo xtask up` at every start.

[http]
listen = "127.0.0.1:{port}"

[admin]
listen = "127.0.0.1:{admin_port}"

[public]
domain = "localhost:{port}"
uri = "http://localhost:{port}"
chains = {signed_chains:?}
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

# all who try this out come from one address
[sign_up]
accounts_per_address_per_hour = 10000
accounts_per_address_per_day = 10000
accounts_per_prefix_per_hour = 10000
accounts_per_prefix_per_day = 10000

[assets]
image_cache_folder = {images}

[media]
folder = {media}

[log]
format = "text"
{chain}"#
    ))
}

/// The chains that sign-in messages may name: mainnet, as wallets without a chain of their own do, and the one that is
/// watched.
fn signed_chains(chain: &Chain) -> Vec<u64> {
    let mut chains = vec![1, chain.id];
    chains.dedup();
    chains
}

fn chain_text(chain: &Chain) -> Result<String> {
    let finality = match chain.finality {
        Finality::Blocks(blocks) => blocks.to_string(),
        Finality::Finalized => r#""finalized""#.to_owned(),
    };
    let (id, rpc, ws) = (chain.id, json(&[&chain.rpc])?, json(&chain.ws.iter().collect::<Vec<_>>())?);
    let mut text = format!("\n[[chains]]\nid = {id}\nrpc = {rpc}\nws = {ws}\nfinality = {finality}\n");
    for contract in &chain.contracts {
        let (kind, address, start_block) = (contract.kind, &contract.address, contract.start_block);
        text += &format!(
            "\n[[chains.contracts]]\nkind = \"{kind}\"\naddress = \"{address}\"\nstart_block = {start_block}\n"
        );
    }
    Ok(text)
}

/// TOML's strings and lists of them; JSON's escapes are valid in it.
fn json(strings: &[&String]) -> Result<String> {
    Ok(serde_json::to_string(strings)?)
}

/// A TOML string; JSON's escapes are valid in it.
fn quoted(prefix: &str, path: &Path) -> Result<String> {
    let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(serde_json::to_string(&format!("{prefix}{path}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::chain::Contract;
    use crate::up::tests::options;

    #[test]
    fn everything_that_is_kept_lies_in_the_folder() {
        let chain = Chain::new(1, "http://127.0.0.1:1", Finality::Finalized, Vec::new());
        let text = text(Path::new("/d"), &options(&[]), &chain).unwrap();
        for line in [
            r#"url = "surrealkv:///d/database""#,
            r#"signing_key_file = "/d/keys/tokens.pem""#,
            r#"verifying_key_file = "/d/keys/tokens.pub.pem""#,
            r#"image_cache_folder = "/d/images""#,
            r#"folder = "/d/media""#,
        ] {
            assert!(text.lines().any(|written| written == line), "{line}: {text}");
        }
    }

    #[test]
    fn a_chain_is_written_with_its_contracts() {
        let token = Contract { kind: "erc20", address: "0xabc".into(), start_block: 7 };
        let chain = Chain::new(10, "https://rpc.example.org/\"x", Finality::Finalized, vec![token]);
        let text = chain_text(&chain).unwrap();
        assert_eq!(
            text,
            r#"
[[chains]]
id = 10
rpc = ["https://rpc.example.org/\"x"]
ws = []
finality = "finalized"

[[chains.contracts]]
kind = "erc20"
address = "0xabc"
start_block = 7
"#
        );
        assert_eq!(signed_chains(&chain), [1, 10]);
        assert_eq!(signed_chains(&Chain::new(1, "", Finality::Blocks(2), Vec::new())), [1]);
    }
}
