//! A chain with passes and badges, a stranger who describes them, and somebody who holds some.

use std::path::PathBuf;

use alloy_primitives::Address;
use anyhow::{Context, Result, ensure};
use nepto_sdk::{Client, Env, LoginOptions, Wallet};
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Anvil, Builder, Stack, UntrustedHost, WatchedChain, eventually, seconds};
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

/// How long everything may take to be known.
const KNOWN_WITHIN: u64 = 20;

/// The smallest GIF that there is.
pub const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

pub struct World {
    pub anvil: Anvil,
    pub contracts: Contracts,
    pub stack: Stack,
    pub host: UntrustedHost,
    /// Who asks, and holds tokens.
    pub wallet: Address,
    http: reqwest::Client,
    client: Client,
    images: TempDir,
}

impl World {
    /// The stranger's server may be asked, although it is on this machine.
    pub async fn new(settings: impl FnOnce(Builder) -> Builder) -> Result<Self> {
        let host = UntrustedHost::start().await?;
        let port = i64::from(host.address().port());
        Self::with(host, |builder| {
            let builder = builder.set("fetch.http", true).set("fetch.addresses", vec!["127.0.0.1"]);
            settings(builder.set("fetch.ports", vec![port]).set("fetch.timeout_ms", 1_500))
        })
        .await
    }

    pub async fn with(host: UntrustedHost, settings: impl FnOnce(Builder) -> Builder) -> Result<Self> {
        let anvil = Anvil::start().await?;
        let contracts = Contracts::deploy(&anvil).await?;
        let images = tempfile::tempdir()?;
        let folder = images.path().join("images").to_str().context("not UTF-8")?.to_owned();
        let chain = WatchedChain::of(&anvil, 2).contracts(&contracts);
        let builder = Stack::builder().unlimited().chain(&chain).set("assets.image_cache_folder", folder);
        let stack = settings(builder).all().await?;
        let key: [u8; 32] = Env::system().bytes();
        let wallet = Wallet::from_private_key(&hex::encode(key))?;
        let client = Client::login(LoginOptions::new(stack.url()), &wallet).await?;
        let wallet = wallet.address();
        let world = Self { anvil, contracts, stack, host, wallet, http: crate::http::client(), client, images };
        world.describes_passes(&world.host.url("/pass/")).await?;
        Ok(world)
    }

    /// Where descriptions of passes are from now on.
    pub async fn describes_passes(&self, base: &str) -> Result<()> {
        let Contracts { owner, pass, .. } = self.contracts;
        // long addresses cost gas
        self.anvil.send(&pass.set_base_uri(owner, base).gas(25_000_000)).await.map(drop)
    }

    /// Gives so many passes to who asks.
    pub async fn gives_passes(&self, count: usize) -> Result<()> {
        let Contracts { owner, pass, .. } = self.contracts;
        for _ in 0..count {
            self.anvil.send(&pass.mint(owner, self.wallet)).await?;
        }
        Ok(())
    }

    /// Makes a kind of badge whose description is there.
    pub async fn gives_badge(&self, token: u64, uri: &str) -> Result<()> {
        let Contracts { owner, badge, .. } = self.contracts;
        self.anvil.send(&badge.set_uri(owner, uri).gas(25_000_000)).await?;
        self.anvil.send(&badge.mint(owner, self.wallet, token.into(), 1)).await.map(drop)
    }

    /// Waits until the server knows of so many tokens.
    pub async fn holds(&self, count: usize) -> Result<()> {
        let known = eventually(seconds(KNOWN_WITHIN), async || {
            let mine = self.get("mine").await?;
            let tokens = mine["holdings"].as_array().context("no holdings")?;
            Ok(tokens.iter().filter(|holding| holding["token"].is_string()).count() == count)
        });
        known.await.with_context(|| format!("{count} tokens are not known"))
    }

    /// An answer, whatever it is.
    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<reqwest::Response> {
        let token = self.client.http().access_token().await?;
        let mut request =
            self.http.request(method, format!("{}/v1/assets/{path}", self.stack.url())).bearer_auth(token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?)
    }

    /// An answer that is good.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let response = self.ask(Method::GET, path, &[]).await?;
        let status = response.status();
        let answer: Value = response.json().await?;
        ensure!(status == 200, "{path}: {status} {answer}");
        Ok(answer)
    }

    /// The code of an answer that is not.
    pub async fn refused(&self, method: Method, path: &str) -> Result<(u16, String)> {
        let response = self.ask(method, path, &[]).await?;
        let (status, answer) = (response.status().as_u16(), response.json::<Value>().await?);
        Ok((status, answer["code"].as_str().with_context(|| answer.to_string())?.to_owned()))
    }

    /// The path of a pass.
    pub fn pass(&self, token: u64) -> String {
        format!("{}/contracts/{}/tokens/{token}", self.anvil.chain_id(), self.contracts.pass.0)
    }

    /// The path of a badge.
    pub fn badge(&self, token: u64) -> String {
        format!("{}/contracts/{}/tokens/{token}", self.anvil.chain_id(), self.contracts.badge.0)
    }

    /// What is said about a token, once it is no longer pending.
    pub async fn described(&self, path: &str) -> Result<Value> {
        self.described_as(path, |metadata| metadata["state"] != "pending").await
    }

    /// What is said about a token, once it is as wanted.
    pub async fn described_as(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let known = eventually(seconds(KNOWN_WITHIN), async || {
            last = self.get(path).await?["metadata"].take();
            Ok(wanted(&last))
        });
        known.await.with_context(|| format!("{path}: {last:#}"))?;
        Ok(last)
    }

    /// The image of a token, once it is no longer pending.
    pub async fn image(&self, path: &str) -> Result<reqwest::Response> {
        let mut last = None;
        let known = eventually(seconds(KNOWN_WITHIN), async || {
            let response = self.ask(Method::GET, &format!("{path}/image"), &[]).await?;
            let there = response.status() != 503;
            last = Some(response);
            Ok(there)
        });
        known.await?;
        last.context("no answer")
    }

    /// The files of images.
    pub fn image_files(&self) -> Result<Vec<(PathBuf, u64)>> {
        let entries = std::fs::read_dir(self.images.path().join("images"))?;
        let file = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.path(), entry.metadata()?.len()))
        };
        entries.map(file).collect()
    }
}
