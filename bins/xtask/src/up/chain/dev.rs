//! A chain for development: an anvil with our contracts, and people with something in their wallets.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nepto_files::Readers;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{Chain, Contracts, Finality, rpc};
use crate::paths::{Paths, short};
use crate::tools::{self, Foundry, foundry};
use crate::up::child::Launch;

const CHAIN_ID: u64 = 31_337;
const BLOCK_SECONDS: &str = "2";
/// Who deploys, and owns everything: the first account of every anvil, whose key is public.
const OWNER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
/// What a `kill -9` of the chain loses.
const SAVE_EVERY_SECONDS: &str = "10";
/// States for calls at earlier blocks. More would be written into the user's home, megabytes each, and left there.
const STATES_MAX: &str = "256";

/// The chain in one data folder.
#[derive(Debug)]
pub struct Dev {
    port: u16,
    /// Where its state and its contracts are kept: `<data>/chain`.
    folder: PathBuf,
    /// The checkout's contracts.
    sources: PathBuf,
    anvil: PathBuf,
    forge: PathBuf,
}

impl Dev {
    /// One that is started later.
    pub fn new(paths: &Paths, foundry: &Foundry, data: &Path, port: u16) -> Self {
        Self {
            port,
            folder: data.join("chain"),
            sources: paths.root.join("contracts"),
            anvil: foundry.anvil.clone(),
            forge: foundry.forge.clone(),
        }
    }

    /// Mines a block every two seconds, and one for each transaction at once.
    pub fn launch(&self, logs: &Path) -> Result<Launch> {
        fs::create_dir_all(&self.folder)?;
        let state = self.folder.join("state.json");
        let saved = self.folder.join("saved.json");
        adopt(&saved, &state)?;
        set_aside_if_broken(&state)?;
        let launch = Launch::new("chain", &self.anvil, logs)
            .arguments(["--port", &self.port.to_string(), "--chain-id", &CHAIN_ID.to_string(), "--quiet"])
            .arguments(["--block-time", BLOCK_SECONDS, "--mixed-mining", "--slots-in-an-epoch", "1"])
            .arguments(["--prune-history", STATES_MAX, "--state-interval", SAVE_EVERY_SECONDS])
            .arguments(["--cache-path".as_ref(), self.folder.join("cache").as_os_str()])
            .arguments(["--dump-state".as_ref(), saved.as_os_str()]);
        Ok(if state.exists() { launch.arguments(["--load-state".as_ref(), state.as_os_str()]) } else { launch })
    }

    /// Whether it answers.
    pub fn is_ready(&self) -> bool {
        rpc::call(self.port, "eth_chainId", &json!([])).is_ok_and(|id| id == format!("{CHAIN_ID:#x}"))
    }

    /// Deploys the contracts, unless they are there already, and says what the server must know.
    pub fn chain(&self) -> Result<Chain> {
        let file = self.folder.join("contracts.json");
        if !self.has(&file)? {
            let _locked = foundry::lock(&self.sources)?;
            self.script("Deploy", &[])?;
            let written = self.sources.join(format!("deployments/{CHAIN_ID}.json"));
            let text = fs::read(&written).with_context(|| format!("{} can't be read", short(&written)))?;
            nepto_files::write(&file, text, Readers::Owner)?;
            fs::remove_file(&written)?;
        }
        Ok(Chain {
            id: CHAIN_ID,
            rpc: format!("http://127.0.0.1:{}", self.port),
            ws: Some(format!("ws://127.0.0.1:{}", self.port)),
            finality: Finality::Blocks(2),
            contracts: Contracts::read(&file)?.list(),
            file: Some(file),
        })
    }

    /// Gives people ether, tokens, a stake, a pass and a badge. Who has got that before is left alone.
    pub fn fund(&self, people: &[String]) -> Result<()> {
        let contracts = Contracts::read(&self.folder.join("contracts.json"))?;
        for person in people {
            rpc::call(self.port, "anvil_impersonateAccount", &json!([person]))?;
        }
        let people_list = people.join(",");
        let address = |contract: &Option<String>| contract.clone().context("a contract is missing");
        let variables = [
            ("NEPTO_PEOPLE", people_list),
            ("NEPTO_TOKEN", address(&contracts.token)?),
            ("NEPTO_STAKING", address(&contracts.staking)?),
            ("NEPTO_PASS", address(&contracts.pass)?),
            ("NEPTO_BADGE", address(&contracts.badge)?),
        ];
        let funded = self.script("Fund", &variables);
        for person in people {
            rpc::call(self.port, "anvil_stopImpersonatingAccount", &json!([person]))?;
        }
        funded
    }

    /// Whether the contracts of a file are on the chain: it may have been lost, or be another one. So may the file: what it
    /// listed is found nowhere else, so they are deployed again.
    fn has(&self, file: &Path) -> Result<bool> {
        if !file.exists() {
            return Ok(false);
        }
        let contracts = match Contracts::read(file) {
            Ok(contracts) => contracts,
            Err(error) => {
                eprintln!(
                    "{error:#}. The contracts are deployed again; what people held of the ones before is not watched."
                );
                return Ok(false);
            }
        };
        for contract in contracts.list() {
            if rpc::call(self.port, "eth_getCode", &json!([contract.address, "latest"]))? == "0x" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Runs `contracts/script/<name>.s.sol` as the owner. It takes a second, and is not interrupted.
    fn script(&self, name: &str, variables: &[(&str, String)]) -> Result<()> {
        let mut forge = Command::new(&self.forge);
        for (variable, _) in std::env::vars_os() {
            // who owns what, and what it is called, is not theirs to say here
            if variable.to_string_lossy().starts_with("NEPTO_") {
                forge.env_remove(variable);
            }
        }
        forge
            .args(["script", &format!("script/{name}.s.sol"), "--sender", OWNER, "--unlocked", "--broadcast", "--slow"])
            .args(["--rpc-url", &format!("http://127.0.0.1:{}", self.port)])
            .env("NEPTO_OWNER", OWNER)
            .env("FOUNDRY_BROADCAST", self.folder.join("broadcast"))
            .envs(variables.iter().map(|(variable, value)| (variable, value)))
            .current_dir(&self.sources)
            .process_group(0);
        tools::run(&mut forge).with_context(|| format!("contracts/script/{name}.s.sol failed"))
    }
}

/// Takes what the chain wrote last for the next start, if it was written to its end: anvil writes over it, and a `kill -9`
/// meanwhile cuts it off. The state of the start before is kept until then.
fn adopt(saved: &Path, state: &Path) -> Result<()> {
    match is_whole(saved)? {
        None => {}
        Some(true) => nepto_files::keep(saved, state, Readers::Owner)?,
        Some(false) => {
            eprintln!(
                "The chain was killed while it saved its blocks; it goes on where the start before this one ended."
            );
            fs::remove_file(saved)?;
        }
    }
    Ok(())
}

/// Without its blocks the chain starts over; the file stays for who knows how to mend it.
fn set_aside_if_broken(state: &Path) -> Result<()> {
    if is_whole(state)? == Some(false) {
        let aside = state.with_extension("damaged");
        fs::rename(state, &aside)?;
        eprintln!(
            "{} was damaged, and lies in {} now. The chain starts over, with new contracts; if the server refuses it as another \
             chain, remove {} to begin with nothing.",
            short(state),
            short(&aside),
            state.parent().and_then(Path::parent).map(short).unwrap_or_default(),
        );
    }
    Ok(())
}

/// Whether a file of JSON was written to its end; `None`: it is not there.
fn is_whole(file: &Path) -> Result<Option<bool>> {
    match File::open(file) {
        Ok(file) => Ok(Some(serde_json::from_reader::<_, IgnoredAny>(BufReader::new(file)).is_ok())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} can't be read", short(file))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::{Duration, Instant};

    use super::super::Contract;
    use super::*;
    use crate::up::child::Child;

    const SOMEBODY: &str = "0x00000000000000000000000000000000000a11CE";
    /// The selector of `balanceOf(address)`, which an ERC-20 answers with base units.
    const BALANCE_OF: &str = "0x70a08231";

    fn dev(data: &Path) -> Dev {
        let paths = Paths { target: data.join("target"), tools: data.join("tools"), ..Paths::find().unwrap() };
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        Dev::new(&paths, &foundry::find_or_install(&paths).unwrap(), data, port)
    }

    fn start(dev: &Dev, data: &Path) -> Child {
        let child = dev.launch(data).unwrap().start().unwrap();
        let started = Instant::now();
        while !dev.is_ready() {
            assert!(started.elapsed() < Duration::from_secs(20), "{}", child.log_end());
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    fn balance(dev: &Dev, contract: &Contract) -> String {
        let data = format!("{BALANCE_OF}{:0>64}", SOMEBODY.trim_start_matches("0x"));
        let call = json!([{ "to": contract.address, "data": data }, "latest"]);
        rpc::call(dev.port, "eth_call", &call)
            .unwrap()
            .as_str()
            .unwrap()
            .trim_start_matches("0x")
            .trim_start_matches('0')
            .to_owned()
    }

    #[test]
    fn contracts_and_wallets_outlive_a_stop_a_kill_and_a_loss() {
        let data = tempfile::tempdir().unwrap();
        let dev = dev(data.path());
        let child = start(&dev, data.path());
        let first = dev.chain().unwrap();
        let [token, pass, _, staking, _] = &first.contracts[..] else { panic!("{first:?}") };
        dev.fund(&[SOMEBODY.to_owned()]).unwrap();
        let rich = [token, staking, pass].map(|contract| balance(&dev, contract));
        assert_eq!(rich[1..], ["56bc75e2d63100000", "1"]);
        assert_eq!(child.stop(), None);

        let child = start(&dev, data.path());
        assert_eq!(dev.chain().unwrap().contracts, first.contracts, "they were there");
        dev.fund(&[SOMEBODY.to_owned()]).unwrap();
        assert_eq!([token, staking, pass].map(|contract| balance(&dev, contract)), rich, "nobody is funded twice");
        drop(child);

        let child = start(&dev, data.path());
        assert_eq!([token, staking, pass].map(|contract| balance(&dev, contract)), rich);
        drop(child);

        fs::remove_file(dev.folder.join("state.json")).unwrap();
        let _child = start(&dev, data.path());
        let file = dev.folder.join("contracts.json");
        assert!(!dev.has(&file).unwrap());
        dev.chain().unwrap();
        assert!(dev.has(&file).unwrap());

        // what a power cut left of the list
        for broken in ["", "{ \"chain_id\": 31337,"] {
            fs::write(&file, broken).unwrap();
            assert_eq!(dev.chain().unwrap().contracts.len(), 5, "{broken:?}");
            assert!(dev.has(&file).unwrap());
        }
    }

    #[test]
    fn a_broken_state_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.json");
        set_aside_if_broken(&state).unwrap();
        for (text, stays) in [("", false), ("{\"a\":", false), ("{\"a\":1}", true)] {
            fs::write(&state, text).unwrap();
            set_aside_if_broken(&state).unwrap();
            assert_eq!(state.exists(), stays, "{text:?}");
        }
        assert_eq!(fs::read_to_string(folder.path().join("state.damaged")).unwrap(), "{\"a\":");
    }

    #[test]
    fn only_a_whole_state_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (saved, state) = (folder.path().join("saved"), folder.path().join("state"));
        adopt(&saved, &state).unwrap();
        assert!(!state.exists());
        for (text, kept) in [(r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#), (r#"{"a":{"b":2}"#, r#"{"a":{"b":1}}"#)] {
            fs::write(&saved, text).unwrap();
            adopt(&saved, &state).unwrap();
            assert_eq!((fs::read_to_string(&state).unwrap().as_str(), saved.exists()), (kept, false));
        }
    }
}
