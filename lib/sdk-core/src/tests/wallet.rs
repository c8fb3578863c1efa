//! A key that signs for a wallet: its own, or a contract that it owns.

use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use nepto_proto::certificate::SignedMessage;
use nepto_proto::siwe::SiweMessage;

use crate::env::Env;
use crate::sign_in::{Signer, text_to_sign};

pub struct Wallet {
    key: PrivateKeySigner,
    signer: Signer,
}

impl Wallet {
    pub fn random(env: &Env) -> Self {
        let key = PrivateKeySigner::from_bytes(&B256::from(env.bytes())).unwrap();
        let signer = Signer { address: key.address(), contract_chain: None };
        Self { key, signer }
    }

    pub fn of_contract(self, chain_id: u64, address: Address) -> Self {
        Self { signer: Signer { address, contract_chain: Some(chain_id) }, ..self }
    }

    pub fn signer(&self) -> Signer {
        self.signer
    }

    pub fn address(&self) -> Address {
        self.signer.address
    }

    pub fn sign(&self, message: &SiweMessage) -> SignedMessage {
        let message = text_to_sign(message).unwrap();
        let signature = self.key.sign_message_sync(message.as_bytes()).unwrap().as_bytes();
        SignedMessage { signature: format!("0x{}", hex::encode(signature)), message }
    }
}
