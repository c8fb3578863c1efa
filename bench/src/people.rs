//! Accounts, signed in for real: a wallet each, a nonce, a signature, a device with its keys.

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt};
use nepto_proto::api::ServerInfo;
use nepto_proto::api::accounts::Consent;
use nepto_proto::api::auth::{SignIn, Tokens, refresh_text};
use nepto_proto::api::keys::{DeviceSetup, SignedPrekey};
use nepto_proto::certificate::{Resource, WalletLink};
use nepto_proto::siwe::SiweMessage;
use nepto_proto::{AccountId, DeviceId, RegistrationId, xeddsa};
use nepto_sdk::http::{Http, TokenSink};
use nepto_sdk::{Env, SdkError, Wallet};
use rand::{Rng, RngCore};

use crate::show;

/// Sign-ins at once.
const AT_ONCE: usize = 16;
/// The type byte of a Kyber-1024 key and its length.
const KYBER_KEY: (u8, usize) = (0x08, 1 + 1_568);

/// Somebody with one device.
pub struct Person {
    /// The account that signing in made.
    pub account: AccountId,
    /// Its only device.
    pub device: DeviceId,
    /// The registration id of its installation, which senders name.
    pub registration_id: RegistrationId,
    /// The wallet it signed in with.
    pub wallet: Wallet,
    http: Http,
}

/// Where to sign in.
#[derive(Clone)]
pub struct Town {
    url: String,
    client: reqwest::Client,
    /// Clock and randomness.
    pub env: Env,
    /// What the server says about itself.
    pub info: ServerInfo,
}

impl Town {
    /// The server at this address.
    pub async fn find(url: &str) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(60)).build()?;
        let env = Env::system();
        let http = Http::with_client(client.clone(), url, env.clone(), Box::new(()))?;
        let info = http.info().await.with_context(|| format!("{url} does not answer"))?;
        Ok(Self { url: url.to_owned(), client, env, info })
    }

    /// Signs new people in.
    pub async fn settle(&self, count: usize) -> Result<Vec<Person>> {
        let bar = show::progress("signing in", count as u64);
        let people = futures_util::stream::iter(0..count)
            .map(|_| async {
                let person = self.sign_in().await;
                bar.inc(1);
                person
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await;
        bar.finish_and_clear();
        people
    }

    /// Lets neighbours (0 and 1, 2 and 3, …) accept each other.
    pub async fn introduce(&self, people: &[Person]) -> Result<()> {
        let bar = show::progress("introducing", people.len() as u64);
        let pairs = people.chunks_exact(2).flat_map(|pair| [(&pair[0], &pair[1]), (&pair[1], &pair[0])]);
        let introduced = futures_util::stream::iter(pairs)
            .map(|(one, other)| async {
                one.http.set_consent(other.account, Consent::Accepted).await?;
                bar.inc(1);
                Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await;
        bar.finish_and_clear();
        introduced
    }

    /// Signs somebody new in.
    pub async fn sign_in(&self) -> Result<Person> {
        let wallet = Wallet::random(&self.env)?;
        let mut rng = self.env.rng();
        let private: [u8; 32] = self.env.bytes();
        let key = IdentityKey { private, domain: self.info.domain.clone(), env: self.env.clone() };
        let http = Http::with_client(self.client.clone(), &self.url, self.env.clone(), Box::new(key))?;
        let identity = xeddsa::public_key(&private);
        let registration_id = RegistrationId::try_from(rng.random_range(1..=RegistrationId::MAX))?;
        let nonce = http.nonce().await?.nonce;
        let message = self.message(&wallet, nonce, &Resource::Device { registration_id, identity_key: identity });
        // nobody encrypts with these, so their private halves are not kept; the signatures are what the server looks at
        let signed = |public_key: Vec<u8>, rng: &mut dyn RngCore| {
            let mut random = [0; 64];
            rng.fill_bytes(&mut random);
            let signature = xeddsa::sign(&private, &public_key, &random).to_vec().into();
            SignedPrekey { id: 1, public_key: public_key.into(), signature }
        };
        let mut kyber = vec![KYBER_KEY.0; KYBER_KEY.1];
        rng.fill_bytes(&mut kyber[1..]);
        let device = DeviceSetup {
            name: "bench".to_owned(),
            signed_prekey: signed(xeddsa::public_key(&self.env.bytes()).to_vec(), &mut rng),
            last_resort: signed(kyber, &mut rng),
        };
        let tokens = http.sign_in(&SignIn { signed: wallet.sign(&message)?, device, invite: None }).await?;
        let (account, device) = (tokens.account, tokens.device);
        http.adopt(tokens).await?;
        Ok(Person { account, device, registration_id, wallet, http })
    }

    /// Links one more wallet to somebody's account.
    pub async fn link(&self, person: &Person, new: &Wallet) -> Result<()> {
        let sign = async |wallet: &Wallet, resource: Resource| {
            let nonce = person.http.nonce().await?.nonce;
            anyhow::Ok(wallet.sign(&self.message(wallet, nonce, &resource))?)
        };
        let Person { account, wallet, .. } = person;
        let approval = sign(wallet, Resource::Link(new.address())).await?;
        let consent = sign(new, Resource::Join { account: *account, approver: wallet.address() }).await?;
        person.http.link_wallet(&WalletLink { approval, consent }).await?;
        Ok(())
    }

    /// Asks for something that is answered with 200, as somebody.
    pub async fn get(&self, person: &Person, path: &str) -> Result<()> {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(person.token().await?);
        let answer = request.send().await?.error_for_status()?;
        answer.bytes().await?;
        Ok(())
    }

    fn message(&self, wallet: &Wallet, nonce: String, resource: &Resource) -> SiweMessage {
        SiweMessage {
            scheme: None,
            domain: self.info.domain.clone(),
            address: wallet.address(),
            statement: None,
            uri: self.info.uri.clone(),
            chain_id: self.info.chains.first().copied().unwrap_or(1),
            nonce,
            issued_at: self.env.date_time().into(),
            expiration_time: None,
            not_before: None,
            request_id: None,
            resources: vec![resource.to_string()],
        }
    }
}

/// What a device signs its refreshes with. Tokens are kept nowhere else than in its client.
struct IdentityKey {
    private: [u8; 32],
    domain: String,
    env: Env,
}

impl TokenSink for IdentityKey {
    fn save(&self, _: &Tokens) -> Result<(), SdkError> {
        Ok(())
    }

    fn forget(&self) -> Result<(), SdkError> {
        Ok(())
    }

    fn sign_refresh(&self, refresh_token: &str) -> Result<Vec<u8>, SdkError> {
        let text = refresh_text(&self.domain, refresh_token);
        Ok(xeddsa::sign(&self.private, text.as_bytes(), &self.env.bytes()).to_vec())
    }
}

impl Person {
    /// Its client of the HTTP API.
    pub const fn http(&self) -> &Http {
        &self.http
    }

    /// What opens a socket. Still good: a run may take longer than a token lives.
    pub async fn token(&self) -> Result<String> {
        Ok(self.http.access_token().await?)
    }

    /// Somebody who never signed in.
    #[cfg(test)]
    pub fn example() -> Self {
        let client = reqwest::Client::new();
        Self {
            account: AccountId::from_bytes(&[7; 16]).unwrap(),
            device: 1.try_into().unwrap(),
            registration_id: 99.try_into().unwrap(),
            wallet: Wallet::random(&Env::system()).unwrap(),
            http: Http::with_client(client, "http://127.0.0.1:1", Env::system(), Box::new(())).unwrap(),
        }
    }
}
