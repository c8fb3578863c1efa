//! What a new account costs, and that nobody else pays.

use alloy_primitives::{Address, U256};
use nepto_proto::ErrorCode;
use nepto_proto::api::SignUpProof;
use nepto_sdk::env::Env;
use nepto_sdk::http::Http;
use nepto_sdk::{Client, LoginOptions, SdkError, Wallet};
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Anvil, Stack, Transaction, WatchedChain, seconds};
use serde_json::{Value, json};

use crate::people::early_in_window;

fn somebody() -> Wallet {
    Wallet::random(&Env::system()).unwrap()
}

/// A key of the chain's development accounts, from the 5th on, which no test of ours pays.
fn known(index: u32) -> Wallet {
    Wallet::from_mnemonic(nepto_testkit::MNEMONIC, index).unwrap()
}

async fn login(stack: &Stack, wallet: &Wallet, invite: Option<&str>) -> Result<Client, SdkError> {
    let invite = invite.map(str::to_owned);
    Client::login(LoginOptions { invite, ..LoginOptions::new(stack.url()) }, wallet).await
}

async fn refusal(stack: &Stack, wallet: &Wallet, invite: Option<&str>) -> ErrorCode {
    let refused = login(stack, wallet, invite).await.err().expect("refused");
    refused.code().unwrap_or_else(|| panic!("no code: {refused}"))
}

/// Asks the operator's listener.
async fn operator(stack: &Stack, method: reqwest::Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = crate::http::client().request(method, format!("{}{path}", stack.api.admin_url()));
    let request = if let Some(body) = body { request.json(&body) } else { request };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

async fn codes(stack: &Stack, count: u32, uses: u32, expires_after_s: u64) -> Vec<String> {
    let body = json!({ "count": count, "uses": uses, "expires_after_s": expires_after_s });
    let (status, made) = operator(stack, reqwest::Method::POST, "/invites", Some(body)).await;
    assert_eq!(status, 200, "{made}");
    made["codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

async fn asked(stack: &Stack) -> nepto_proto::api::SignUp {
    Http::new(&stack.url(), Env::system(), Box::new(())).unwrap().info().await.unwrap().sign_up
}

#[tokio::test]
async fn one_address_makes_so_many_accounts_and_those_who_have_one_come_in() {
    let limits = |name: &str, max: i64| Stack::builder().unlimited().set(&format!("sign_up.accounts_per_{name}"), max);
    early_in_window(seconds(3_600)).await;
    for name in ["address_per_hour", "address_per_day", "prefix_per_hour", "prefix_per_day"] {
        let stack = limits(name, 2).all().await.unwrap();
        let first = somebody();
        login(&stack, &first, None).await.unwrap();
        login(&stack, &somebody(), None).await.unwrap();
        let refused = login(&stack, &somebody(), None).await.err().expect("refused");
        let SdkError::Server { code: ErrorCode::RateLimited, retry_after: Some(wait), detail, .. } = &refused else {
            panic!("{refused}")
        };
        assert!(wait.as_secs() > 5 && detail.contains("new accounts"), "{name}: {detail}");
        login(&stack, &first, None).await.unwrap();
        if name != "prefix_per_day" {
            continue;
        }
        assert_eq!(asked(&stack).await, nepto_proto::api::SignUp::default());
    }
}

#[tokio::test]
async fn an_invite_lets_in_as_many_as_it_says_however_many_come_at_once() {
    let stack = Stack::builder().unlimited().set("sign_up.proof", "invite").all().await.unwrap();
    let told = asked(&stack).await;
    assert_eq!((told.proof, told.chain_id), (SignUpProof::Invite, None));
    assert!(told.text.contains("invite"));
    let first = somebody();
    assert_eq!(refusal(&stack, &first, None).await, ErrorCode::InviteNeeded);
    for wrong in ["abc", "abcde-abcde-abcde-abcde"] {
        assert_eq!(refusal(&stack, &first, Some(wrong)).await, ErrorCode::InviteInvalid);
    }
    let code = codes(&stack, 1, 3, 600).await.remove(0);
    let people: Vec<Wallet> = (0..8).map(|_| somebody()).collect();
    let tried = people.iter().map(|wallet| login(&stack, wallet, Some(&code)));
    let tried = futures_util::future::join_all(tried).await;
    let (inside, outside): (Vec<_>, Vec<_>) = people.iter().zip(&tried).partition(|(_, tried)| tried.is_ok());
    assert_eq!(inside.len(), 3);
    for (_, refused) in outside {
        assert_eq!(refused.as_ref().err().unwrap().code(), Some(ErrorCode::InviteInvalid));
    }
    // who is in needs no other one, and uses none up
    let other = codes(&stack, 1, 1, 600).await.remove(0).to_uppercase().replace('-', "");
    login(&stack, inside[0].0, None).await.unwrap();
    login(&stack, inside[0].0, Some(&other)).await.unwrap();
    login(&stack, &first, Some(&other)).await.unwrap();
    assert_eq!(refusal(&stack, &somebody(), Some(&other)).await, ErrorCode::InviteInvalid);
}

#[tokio::test]
async fn who_is_refused_uses_nothing_up_that_neighbours_may_make() {
    let stack = Stack::builder()
        .unlimited()
        .set("sign_up.proof", "invite")
        .set("sign_up.accounts_per_address_per_hour", 1)
        .set("sign_up.accounts_per_prefix_per_hour", 2)
        .all()
        .await
        .unwrap();
    early_in_window(seconds(3_600)).await;
    let made = codes(&stack, 2, 1, 600).await;
    let stranger = somebody();
    for _ in 0..3 {
        assert_eq!(refusal(&stack, &stranger, None).await, ErrorCode::InviteNeeded);
        assert_eq!(refusal(&stack, &stranger, Some("abcde-abcde-abcde-abcde")).await, ErrorCode::InviteInvalid);
    }
    // everybody here comes from one address
    login(&stack, &somebody(), Some(&made[0])).await.unwrap();
    for _ in 0..3 {
        assert_eq!(refusal(&stack, &stranger, Some(&made[1])).await, ErrorCode::RateLimited);
    }
    let mut redis = stack.redis.client().await.unwrap();
    for kind in ["sign_up_prefix_hour", "sign_up_prefix_day", "sign_up_address_hour", "sign_up_address_day"] {
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(format!("limit:{kind}:*")).query_async(&mut redis).await.unwrap();
        let [key] = keys.as_slice() else { panic!("{kind}: {keys:?}") };
        let count: u32 = redis::cmd("GET").arg(key).query_async(&mut redis).await.unwrap();
        assert_eq!(count, 1, "{kind}");
    }
}

#[tokio::test]
async fn an_operator_makes_lists_and_drops_invites_within_bounds() {
    let stack = Stack::builder().unlimited().set("sign_up.proof", "invite").all().await.unwrap();
    let made = codes(&stack, 3, 1, 600).await;
    assert_eq!(made.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
    let ids = async || -> Vec<String> {
        let (_, page) = operator(&stack, reqwest::Method::GET, "/invites", None).await;
        page["invites"].as_array().unwrap().iter().map(|invite| invite["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = ids().await;
    assert_eq!(all.len(), 3);
    let (_, rest) = operator(&stack, reqwest::Method::GET, &format!("/invites?after={}", all[1]), None).await;
    assert_eq!(rest["invites"].as_array().unwrap().len(), 1, "the next page begins after the last id");
    assert_eq!(operator(&stack, reqwest::Method::DELETE, &format!("/invites/{}", all[0]), None).await.0, 204);
    assert_eq!(operator(&stack, reqwest::Method::DELETE, &format!("/invites/{}", all[0]), None).await.0, 404);
    assert_eq!(operator(&stack, reqwest::Method::DELETE, "/invites/a", None).await.0, 404, "no short name drops many");
    assert_eq!(ids().await, all[1..]);
    let mut worked = 0;
    for code in &made {
        worked += usize::from(login(&stack, &somebody(), Some(code)).await.is_ok());
    }
    assert_eq!(worked, 2);
    for (count, uses, expires_after_s) in [(0, 1, 60), (501, 1, 60), (1, 0, 60), (1, 1, 0), (1, 1, 366 * 86_400)] {
        let body = json!({ "count": count, "uses": uses, "expires_after_s": expires_after_s });
        assert_eq!(operator(&stack, reqwest::Method::POST, "/invites", Some(body)).await.0, 400);
    }
    // one that has expired is none
    let short = codes(&stack, 1, 1, 1).await.remove(0);
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(refusal(&stack, &somebody(), Some(&short)).await, ErrorCode::InviteInvalid);
    assert!(ids().await.is_empty());
    // the public listener knows none of it
    let public = crate::http::get(format!("{}/invites", stack.url())).await.unwrap();
    assert_eq!(public.status().as_u16(), 404);
}

/// A server that asks for something on the chain.
async fn stack_with(anvil: &Anvil, settings: &[(&str, &str)]) -> Stack {
    let builder = Stack::builder()
        .unlimited()
        .set("sign_up.chain", anvil.chain_id() as i64)
        .set("sign_up.held_blocks", 4)
        .chain(&WatchedChain::of(anvil, 2));
    let builder =
        settings.iter().fold(builder, |builder, (name, value)| builder.set(&format!("sign_up.{name}"), *value));
    builder.all().await.unwrap()
}

#[tokio::test]
async fn a_balance_must_be_there_and_have_been_there() {
    let anvil = Anvil::start().await.unwrap();
    let stack = stack_with(&anvil, &[("proof", "balance"), ("at_least", "1000000000000000")]).await;
    let told = asked(&stack).await;
    assert_eq!((told.proof, told.held_blocks), (SignUpProof::Balance, Some(4)));
    assert_eq!((told.chain_id, told.at_least.as_deref()), (Some(anvil.chain_id()), Some("1000000000000000")));
    let poor = somebody();
    assert_eq!(refusal(&stack, &poor, None).await, ErrorCode::BalanceNeeded);
    let pay = |wei: u64| Transaction::ether(anvil.accounts()[0], poor.address(), U256::from(wei));
    anvil.send(&pay(999_999_999_999_999)).await.unwrap();
    anvil.mine(5).await.unwrap();
    assert_eq!(refusal(&stack, &poor, None).await, ErrorCode::BalanceNeeded, "one wei too little");
    anvil.send(&pay(1)).await.unwrap();
    assert_eq!(refusal(&stack, &poor, None).await, ErrorCode::BalanceNeeded, "it came a moment ago");
    anvil.mine(4).await.unwrap();
    login(&stack, &poor, None).await.unwrap();
    // an invite is as good
    let code = codes(&stack, 1, 1, 600).await.remove(0);
    login(&stack, &somebody(), Some(&code)).await.unwrap();
    // while nobody can say, nobody new comes in, and everybody else does
    anvil.pause().unwrap();
    login(&stack, &poor, None).await.unwrap();
    assert_eq!(refusal(&stack, &known(7), None).await, ErrorCode::Unavailable);
    anvil.resume().unwrap();
}

#[tokio::test]
async fn tokens_and_collections_count() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let owner = anvil.accounts()[0];
    let holder = somebody();
    let give = async |to: Address| {
        anvil.send(&contracts.token.transfer(owner, to, 500)).await.unwrap();
        anvil.send(&contracts.pass.mint(owner, to)).await.unwrap();
        anvil.send(&contracts.badge.mint(owner, to, 7, 2)).await.unwrap();
        anvil.mine(5).await.unwrap();
    };
    give(holder.address()).await;
    let (token, pass, badge) =
        (contracts.token.0.to_string(), contracts.pass.0.to_string(), contracts.badge.0.to_string());
    for (settings, code) in [
        (vec![("proof", "balance"), ("contract", &*token), ("at_least", "500")], ErrorCode::BalanceNeeded),
        (vec![("proof", "nft"), ("contract", &*pass)], ErrorCode::NftNeeded),
        (vec![("proof", "nft"), ("contract", &*badge), ("token", "7"), ("at_least", "2")], ErrorCode::NftNeeded),
    ] {
        let stack = stack_with(&anvil, &settings).await;
        assert_eq!(refusal(&stack, &somebody(), None).await, code, "{settings:?}");
        login(&stack, &holder, None).await.unwrap();
        let told = asked(&stack).await;
        assert_eq!(told.contract.as_deref(), settings.iter().find(|(name, _)| *name == "contract").map(|(_, at)| *at));
    }
    // another kind of the same collection, and more than there is
    for more in [[("token", "8"), ("at_least", "1")], [("token", "7"), ("at_least", "3")]] {
        let stack = stack_with(&anvil, &[&[("proof", "nft"), ("contract", &*badge)][..], &more].concat()).await;
        assert_eq!(refusal(&stack, &holder, None).await, ErrorCode::NftNeeded, "{more:?}");
    }
}

#[tokio::test]
async fn a_wallet_must_have_been_used_some_time_ago() {
    let anvil = Anvil::start().await.unwrap();
    let (old, young) = (known(5), known(6));
    let sends = |from: &Wallet| Transaction::ether(from.address(), Address::repeat_byte(9), U256::from(1));
    for _ in 0..2 {
        anvil.send(&sends(&old)).await.unwrap();
    }
    // three days of blocks, an hour each
    for _ in 0..72 {
        anvil.rpc("evm_increaseTime", json!([3_600])).await.unwrap();
        anvil.mine(1).await.unwrap();
    }
    for _ in 0..2 {
        anvil.send(&sends(&young)).await.unwrap();
    }
    let builder = Stack::builder()
        .unlimited()
        .set("sign_up.proof", "age")
        .set("sign_up.age_days", 2)
        .set("sign_up.at_least", "2")
        .set("sign_up.chain", anvil.chain_id() as i64);
    let stack = builder.chain(&WatchedChain::of(&anvil, 2)).all().await.unwrap();
    assert_eq!(refusal(&stack, &young, None).await, ErrorCode::AgeNeeded);
    assert_eq!(refusal(&stack, &somebody(), None).await, ErrorCode::AgeNeeded);
    login(&stack, &old, None).await.unwrap();
}
