//! Where a wallet comes from.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, Bytes};
use clap::Args;
use nepto_sdk::{ContractWallet, Creation, Env, Wallet};

use crate::failure::Failure;
use crate::secret;

/// The wallet to sign with.
#[derive(Debug, Args)]
pub struct WalletArgs {
    /// Encrypted keystore of the wallet (version 3, as geth and Foundry write it); its password is asked for
    #[arg(long, value_name = "FILE", group = "wallet", help_heading = "Wallet (one of them)")]
    pub keystore: Option<PathBuf>,

    /// Read the private key from a line of standard input: 64 hex digits
    #[arg(long, group = "wallet", help_heading = "Wallet (one of them)")]
    pub key_stdin: bool,

    /// Read a recovery phrase of 12 to 24 words from a line of standard input
    #[arg(long, group = "wallet", help_heading = "Wallet (one of them)")]
    pub mnemonic_stdin: bool,

    /// Which account of the recovery phrase, counted from 0
    #[arg(long, value_name = "N", requires = "mnemonic_stdin", conflicts_with_all = ["keystore", "key_stdin"], help_heading = "Wallet (one of them)")]
    pub index: Option<u32>,

    /// File with the keystore's password on its first line; `-`: a line of standard input
    #[arg(long, value_name = "FILE", help_heading = "Wallet (one of them)")]
    pub keystore_password_file: Option<PathBuf>,

    /// Address of a contract that the wallet above speaks for; it must take its signature as it is (ERC-1271)
    #[arg(long, value_name = "ADDRESS", requires = "chain_id", help_heading = "Contract wallet")]
    pub contract_wallet: Option<Address>,

    /// The chain that the contract is on
    #[arg(long, value_name = "N", requires = "contract_wallet", help_heading = "Contract wallet")]
    pub chain_id: Option<u64>,

    /// Who makes the contract, if it does not exist yet (ERC-6492)
    #[arg(long, value_name = "ADDRESS", requires = "factory_call", help_heading = "Contract wallet")]
    pub factory: Option<Address>,

    /// With which call, in hex
    #[arg(long, value_name = "HEX", requires = "factory", help_heading = "Contract wallet")]
    pub factory_call: Option<Bytes>,
}

impl WalletArgs {
    /// Whether a wallet was named.
    pub fn is_given(&self) -> bool {
        self.keystore.is_some() || self.key_stdin || self.mnemonic_stdin
    }

    /// The wallet that was named.
    pub fn open(&self) -> Result<Wallet, Failure> {
        let wallet = self.open_key()?;
        let (Some(address), Some(chain_id)) = (self.contract_wallet, self.chain_id) else { return Ok(wallet) };
        let creation = self.factory.zip(self.factory_call.clone()).map(|(factory, call)| Creation { factory, call });
        Ok(wallet.of_contract(ContractWallet { address, chain_id, creation }))
    }

    fn open_key(&self) -> Result<Wallet, Failure> {
        if let Some(keystore) = &self.keystore {
            return open_keystore(keystore, self.keystore_password_file.as_deref());
        }
        if self.key_stdin {
            return key_from_stdin();
        }
        if self.mnemonic_stdin {
            let phrase = from_stdin("Recovery phrase: ", "the recovery phrase")?;
            return Ok(Wallet::from_mnemonic(&phrase, self.index.unwrap_or(0))?);
        }
        Err(Failure::usage("say which wallet: --keystore FILE, --key-stdin or --mnemonic-stdin"))
    }
}

/// Opens a keystore; without a password file its password is asked for.
pub fn open_keystore(keystore: &Path, password_file: Option<&Path>) -> Result<Wallet, Failure> {
    not_a_folder(keystore)?;
    if !keystore.is_file() {
        let detail = format!("there is no keystore {}; --new-keystore FILE makes one", keystore.display());
        return Err(Failure::usage(detail));
    }
    let password = match password_file {
        Some(file) => secret::first_line(file, "the keystore's password")?,
        None => secret::ask(&format!("Password of {}: ", keystore.display()), NO_TERMINAL)?,
    };
    Ok(Wallet::from_keystore(keystore, &password)?)
}

/// Makes a wallet and its keystore.
pub fn create_keystore(file: &Path, password_file: Option<&Path>, env: &Env) -> Result<Wallet, Failure> {
    not_a_folder(file)?;
    if file.exists() {
        let detail = format!("{} is there already; sign in with it: --keystore {0}", file.display());
        return Err(Failure::usage(detail));
    }
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage(format!("{} is not the name of a file", file.display())))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Failure::usage(format!("there is no folder {}", folder.display())));
    }
    let password = match password_file {
        Some(file) => secret::first_line(file, "the keystore's password")?,
        None => secret::ask_twice("Choose a password for the new wallet's keystore: ", NO_TERMINAL)?,
    };
    if password.is_empty() {
        return Err(Failure::usage("the keystore's password is empty"));
    }
    let wallet = Wallet::random(env)?;
    wallet.save_keystore(folder, &password, Some(name))?;
    Ok(wallet)
}

fn not_a_folder(keystore: &Path) -> Result<(), Failure> {
    match keystore.is_dir() {
        true => Err(Failure::usage(format!("{} is a folder; name the keystore's file in it", keystore.display()))),
        false => Ok(()),
    }
}

/// A wallet whose key is a line of standard input.
pub fn key_from_stdin() -> Result<Wallet, Failure> {
    let key = from_stdin("Private key: ", "the private key")?;
    Ok(Wallet::from_private_key(&key)?)
}

fn from_stdin(prompt: &str, what: &str) -> Result<secret::Secret, Failure> {
    if std::io::stdin().is_terminal() { secret::ask(prompt, NO_TERMINAL) } else { secret::stdin_line(what) }
}

const NO_TERMINAL: &str =
    "the keystore's password is needed, and there is no terminal to ask on: say --keystore-password-file FILE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_keystore_is_read_back_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (file, password) = (folder.path().join("wallet.json"), folder.path().join("password"));
        std::fs::write(&password, "secret\n").unwrap();
        let made = create_keystore(&file, Some(&password), &Env::system()).unwrap();
        assert_eq!(open_keystore(&file, Some(&password)).unwrap().address(), made.address());
        assert!(create_keystore(&file, Some(&password), &Env::system()).is_err());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
