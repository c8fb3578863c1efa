//! What a new account costs: how many may come from one place, and what the operator wants to see of a wallet. Whoever has
//! an account is never asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use nepto_chain::holdings::{Ago, Holdings, What};
use nepto_chain::rpc::RpcError;
use nepto_kit::config::Config;
use nepto_kit::http::{Origin, RequestId};
use nepto_kit::limit::{Cost, Exhausted, Limit, Taken};
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::{self, SignUpProof};
use nepto_proto::event::WalletLinked;
use nepto_proto::siwe::SiweMessage;
use nepto_proto::{AccountId, ErrorCode};
use tracing::Instrument;

use super::config::{Proof, SignUp};
use super::invites::Code;
use super::issuer::Issuer;
use crate::chains::{Chains, urls_of};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// All questions about one wallet must be answered in this time.
const ASKED_WITHIN: Duration = Duration::from_secs(8);

/// What stands between a wallet and its first account.
pub struct Gate {
    rules: Arc<SignUp>,
    /// Where balances, tokens and transactions are looked for.
    holdings: Option<Holdings>,
}

impl Gate {
    pub fn new(config: &Config) -> Result<Self, RpcError> {
        let (rules, chains) = (config.section::<SignUp>(), config.section::<Chains>());
        let chain = chains.get(rules.chain).filter(|_| rules.asks_a_chain());
        let holdings = chain.map(|chain| Holdings::new(urls_of(chain), chain.concurrency_max)).transpose()?;
        Ok(Self { rules, holdings })
    }

    /// Takes one from what an address and its prefix may make, from both or from neither. It is to be given back if no
    /// account is made of it: nobody uses up what neighbours may make without making it.
    pub(super) async fn limit(&self, ctx: &Ctx, address: &str) -> Result<Taken, Failure> {
        let prefix = prefix_of(address);
        let rules = &self.rules;
        let costs = [
            ("sign_up_prefix_day", rules.accounts_per_prefix_per_day, DAY, prefix.as_str()),
            ("sign_up_prefix_hour", rules.accounts_per_prefix_per_hour, HOUR, prefix.as_str()),
            ("sign_up_address_day", rules.accounts_per_address_per_day, DAY, address),
            ("sign_up_address_hour", rules.accounts_per_address_per_hour, HOUR, address),
        ]
        .map(|(kind, max, window, subject)| Cost {
            limit: Limit { kind, max, window },
            subject: subject.to_owned(),
            member: None,
            amount: 1,
            refundable: true,
        });
        let mut taken = Taken::default();
        match taken.add(&ctx.redis, &ctx.clock, &costs).await? {
            Ok(()) => Ok(taken),
            Err(Exhausted { limit: Limit { kind, max, window }, left }) => {
                metrics::counter!("nepto_rate_limited_total", "kind" => kind).increment(1);
                let described = format!("at most {max} within {} s", window.as_secs());
                let detail =
                    format!("too many new accounts from where you are ({described}); wait, or ask the operator");
                Err(Failure::rate_limited(left, detail))
            }
        }
    }

    /// Whether a wallet shows what is asked for; an invite is looked at when the account is made.
    pub(super) async fn check(&self, wallet: Address, invite: Option<&Code>) -> Result<(), Failure> {
        let needed = |code| Err(Failure::new(code, needs(&self.rules).text));
        match (self.rules.proof, invite) {
            (Proof::None, _) | (_, Some(_)) => Ok(()),
            (Proof::Invite, None) => needed(ErrorCode::InviteNeeded),
            (Proof::Balance, None) if !self.has(wallet).await? => needed(ErrorCode::BalanceNeeded),
            (Proof::Nft, None) if !self.has(wallet).await? => needed(ErrorCode::NftNeeded),
            (Proof::Age, None) if !self.has(wallet).await? => needed(ErrorCode::AgeNeeded),
            (Proof::Balance | Proof::Nft | Proof::Age, None) => Ok(()),
        }
    }

    async fn has(&self, wallet: Address) -> Result<bool, Failure> {
        let away = |error: anyhow::Error| Failure::unavailable(&format!("chain {}", self.rules.chain), error);
        let Some(holdings) = &self.holdings else { return Err(away(anyhow::anyhow!("no node of it is configured"))) };
        match tokio::time::timeout(ASKED_WITHIN, self.ask(holdings, wallet)).await {
            Ok(answer) => answer.map_err(|error| away(error.into())),
            Err(elapsed) => Err(away(elapsed.into())),
        }
    }

    async fn ask(&self, holdings: &Holdings, wallet: Address) -> Result<bool, RpcError> {
        let SignUp { proof, contract, token, at_least, held_blocks, age_days, .. } = *self.rules;
        let what = match (proof, contract, token) {
            (Proof::Age, ..) => {
                let ago = Ago::Time(DAY * age_days);
                return holdings.had(wallet, What::Transactions, at_least, ago).await;
            }
            (_, None, _) => What::Coin,
            (_, Some(contract), None) => What::Token(contract),
            (_, Some(contract), Some(token)) => What::Kind(contract, token),
        };
        Ok(holdings.has(wallet, what, at_least).await?
            && (held_blocks == 0 || holdings.had(wallet, what, at_least, Ago::Blocks(held_blocks)).await?))
    }
}

/// What clients are told before anybody signs.
pub fn sign_up_needs(config: &Config) -> api::SignUp {
    needs(&config.section::<SignUp>())
}

fn needs(rules: &SignUp) -> api::SignUp {
    let SignUp { proof, chain, contract, token, at_least, held_blocks, age_days, .. } = rules;
    let where_to = format!("of chain {chain}");
    let for_some_time = match held_blocks {
        0 => String::new(),
        blocks => format!(", now and {blocks} blocks ago"),
    };
    let or_invite = "or an invite code";
    let (kind, text) = match proof {
        Proof::None => (SignUpProof::None, String::new()),
        Proof::Invite => {
            (SignUpProof::Invite, "a new account needs an invite code; ask the operator for one".to_owned())
        }
        Proof::Balance => {
            let what = contract
                .map_or("base units of the coin".to_owned(), |contract| format!("base units of the token {contract}"));
            let text =
                format!("a new account needs a wallet with {at_least} {what} {where_to}{for_some_time}, {or_invite}");
            (SignUpProof::Balance, text)
        }
        Proof::Nft => {
            let kind = token.map_or("of".to_owned(), |token| format!("number {token} of"));
            let collection = contract.map(|contract| contract.to_string()).unwrap_or_default();
            let text = format!(
                "a new account needs a wallet with {at_least} NFT {kind} the collection {collection} {where_to}{for_some_time}, {or_invite}"
            );
            (SignUpProof::Nft, text)
        }
        Proof::Age => {
            let text = format!(
                "a new account needs a wallet that had sent {at_least} transactions {where_to} by {age_days} days ago, {or_invite}"
            );
            (SignUpProof::Age, text)
        }
    };
    let (on_chain, holds) = (rules.asks_a_chain(), matches!(proof, Proof::Balance | Proof::Nft));
    api::SignUp {
        proof: kind,
        text,
        chain_id: on_chain.then_some(*chain),
        contract: contract.filter(|_| holds).map(|contract| contract.to_string()),
        token: token.filter(|_| holds).map(|token| token.to_string()),
        at_least: on_chain.then(|| at_least.to_string()),
        held_blocks: holds.then_some(*held_blocks),
        age_days: (*proof == Proof::Age).then_some(*age_days),
    }
}

impl Issuer {
    /// An account for a wallet that has none. It goes on if nobody waits for it any more: whoever hangs up must not keep what
    /// was taken for an account that is not made.
    pub(super) async fn sign_up(
        &self,
        message: SiweMessage,
        address: String,
        invite: Option<Code>,
    ) -> Result<AccountId, Failure> {
        let (issuer, ctx) = (self.clone(), self.auth.ctx.clone());
        let work = async move {
            let ctx = &issuer.auth.ctx;
            let taken = issuer.gate.limit(ctx, &address).await?;
            let new = AccountId::new(ctx.random.uuid(&ctx.clock));
            let made = issuer.check_and_make(&message, invite, new).await;
            // another request may have made the account of this wallet meanwhile
            if made.as_ref().is_ok_and(|made| *made == new) {
                return made;
            }
            if let Err(error) = taken.give_back(&ctx.redis).await {
                tracing::warn!(%error, "a place for an account that was not made is not given back");
            }
            made
        };
        let work = RequestId::current().scope(work).in_current_span();
        ctx.tasks.spawn(work).await.map_err(Failure::internal)?
    }

    /// Until everything is checked the nonce stays: the wallet need not sign again.
    async fn check_and_make(
        &self,
        message: &SiweMessage,
        invite: Option<Code>,
        new: AccountId,
    ) -> Result<AccountId, Failure> {
        self.gate.check(message.address, invite.as_ref()).await?;
        self.auth.use_nonce(message).await?;
        self.make_account(&message.address.to_string(), invite, new).await
    }

    /// The account of a wallet; makes one where there is none, and uses the invite up that it needs.
    async fn make_account(&self, wallet: &str, invite: Option<Code>, new: AccountId) -> Result<AccountId, Failure> {
        let event =
            self.auth.event_about(wallet, &WalletLinked { account: new, wallet: wallet.to_owned(), version: 0 })?;
        let now_ms = self.auth.ctx.clock.now_ms();
        let invite = invite.filter(|_| self.gate.rules.proof != Proof::None);
        let made = self.auth.store.account_of_wallet_or_new(wallet, new, invite.as_ref(), now_ms, event).await;
        made.map_err(|error| match Failure::from(error) {
            failure if failure.code == ErrorCode::InviteInvalid => {
                Failure::new(failure.code, "this invite code is unknown, used up or expired; ask for another one")
            }
            failure => failure,
        })
    }
}

/// What is rented as a whole around the address that a limit counts.
fn prefix_of(address: &str) -> String {
    address.parse::<IpAddr>().map_or_else(|_| address.to_owned(), |address| Origin::from(address).prefix.to_string())
}

#[cfg(test)]
mod tests {
    use nepto_kit::config::Declared;

    use super::*;

    #[test]
    fn neighbours_share_a_prefix() {
        for (address, prefix) in [
            ("192.0.2.7", "192.0.2.0"),
            ("192.0.3.7", "192.0.3.0"),
            ("2001:db8:1:2::", "2001:db8:1::"),
            ("2001:db8:1:ffff::", "2001:db8:1::"),
            ("2001:db8:2:2::", "2001:db8:2::"),
            ("", ""),
        ] {
            assert_eq!(prefix_of(address), prefix);
        }
    }

    fn described(rules: &str) -> api::SignUp {
        let chain = "[[chains]]\nid = 10\nrpc = [\"http://127.0.0.1:1\"]\n";
        let text = format!("[sign_up]\nchain = 10\n{rules}\n{chain}");
        sign_up_needs(&Config::parse(&text, [], &[Declared::of::<Chains>(), Declared::of::<SignUp>()]).unwrap())
    }

    #[test]
    fn what_is_needed_is_said_to_people_and_to_programs() {
        assert_eq!(described(""), api::SignUp::default());
        assert_eq!(
            described("proof = \"invite\"").text,
            "a new account needs an invite code; ask the operator for one"
        );
        let coin = described("proof = \"balance\"\nat_least = \"1000000000000000\"");
        assert_eq!(
            coin.text,
            "a new account needs a wallet with 1000000000000000 base units of the coin of chain 10, now and 64 blocks ago, or an invite code"
        );
        let wanted = api::SignUp {
            proof: SignUpProof::Balance,
            text: coin.text.clone(),
            chain_id: Some(10),
            at_least: Some("1000000000000000".into()),
            held_blocks: Some(64),
            ..api::SignUp::default()
        };
        assert_eq!(coin, wanted);
        let contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
        let kind = described(&format!("proof = \"nft\"\nheld_blocks = 0\ntoken = \"7\"\ncontract = \"{contract}\""));
        assert_eq!(
            kind.text,
            format!(
                "a new account needs a wallet with 1 NFT number 7 of the collection {contract} of chain 10, or an invite code"
            )
        );
        let age = described("proof = \"age\"\nage_days = 30\nat_least = \"5\"");
        assert_eq!((age.age_days, age.at_least.as_deref(), age.held_blocks), (Some(30), Some("5"), None));
    }
}
