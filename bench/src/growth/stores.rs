//! Accounts that are in the stores from the beginning: their rows, made by the database itself, some thousands a statement.

use alloy_primitives::Address;
use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use futures_util::{StreamExt, TryStreamExt};
use nepto_testkit::{DATABASE_PASSWORD, Server};

use crate::show;

/// Accounts of one statement: a second's work at most.
const AT_ONCE: u64 = 5_000;
/// Statements under way: as many as cores, because making rows is work for one.
const STATEMENTS: usize = 2;
/// One base unit, 32 bytes big-endian.
const ONE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=";

/// The wallet of the n-th account.
pub fn wallet(number: u64) -> Address {
    let hash = digest(&SHA256, number.to_string().as_bytes());
    Address::from_slice(&hash.as_ref()[..20])
}

/// Makes so many accounts: each has a wallet, a device, and one base unit of a token.
pub async fn fill(database: &Server, accounts: u64, chain: u64, token: Address) -> Result<()> {
    let bar = show::progress("making accounts", accounts);
    let client = reqwest::Client::new();
    let starts = (0..accounts).step_by(AT_ONCE as usize);
    let made = futures_util::stream::iter(starts).map(|first| {
        let (client, bar, last) = (&client, &bar, (first + AT_ONCE).min(accounts));
        async move {
            for (domain, statement) in statements(first, last, chain, token) {
                query(client, database, domain, &statement).await?;
            }
            bar.inc(last - first);
            anyhow::Ok(())
        }
    });
    made.buffer_unordered(STATEMENTS).try_collect::<()>().await?;
    bar.finish_and_clear();
    // whoever knows the wallets of before reads them all
    let changed = "UPSERT linked_revision:all SET revision = (revision ?? 0) + 1 RETURN NONE";
    query(&client, database, "assets", changed).await
}

/// By the database of a domain.
fn statements(first: u64, last: u64, chain: u64, token: Address) -> Vec<(&'static str, String)> {
    let insert = |table: &str, row: &str| {
        format!(
            "INSERT INTO {table} (array::range({first}, {last}).map(|$n| {{
                LET $hash = crypto::sha256(<string>$n);
                LET $wallet = string::slice($hash, 0, 40);
                LET $account = string::join('-', string::slice($hash, 0, 8), string::slice($hash, 8, 12),
                    string::slice($hash, 12, 16), string::slice($hash, 16, 20), string::slice($hash, 20, 32));
                RETURN {row};
            }})) RETURN NONE;"
        )
    };
    let token = format!("{token:x}");
    let token = token.trim_start_matches("0x");
    let held = format!(
        "{{ id: [{chain}, $wallet, '{token}', 'erc20/3', ''], scope: '{chain}:{token}:erc20/3:', holder: $wallet,
            amount: encoding::base64::decode('{ONE}'), folded: 0 }}"
    );
    let device = "{ id: [$account, 1], account: $account, device: 1, registration_id: 1, identity_key: <bytes>$wallet,
        name: 'bench', wallet: $wallet, message: '', signature: '', ec_left: 100, kyber_left: 100,
        signed_prekey: { id: 1, public_key: <bytes>'', signature: <bytes>'' },
        last_resort: { id: 1, public_key: <bytes>'', signature: <bytes>'' },
        ec_top: 0, kyber_top: 0, signed_top: 1, last_resort_top: 1, ec_sum: 0, kyber_sum: 0,
        created_at_ms: $n, last_seen_at_ms: 4102444800000 + $n }";
    let account = "{ id: $account, root: '0x' + $wallet, wallets: ['0x' + $wallet], links: [], created_at_ms: $n }";
    vec![
        ("auth", insert("account", account)),
        ("auth", insert("wallet", "{ id: '0x' + $wallet, account: $account }")),
        ("keys", insert("device", device)),
        ("assets", insert("linked", "{ id: $wallet, account: $account }")),
        ("assets", insert("held", &held)),
    ]
}

async fn query(client: &reqwest::Client, database: &Server, domain: &str, statement: &str) -> Result<()> {
    let request = client
        .post(format!("{}/sql", database.url()))
        .basic_auth("root", Some(DATABASE_PASSWORD))
        .header("surreal-ns", "nepto")
        .header("surreal-db", domain)
        .header("accept", "application/json")
        .body(statement.to_owned());
    let answer: serde_json::Value = request.send().await?.error_for_status()?.json().await?;
    let done = answer.as_array().context("the database answers nothing")?;
    let failed = done.iter().find(|done| done["status"] != "OK");
    ensure!(failed.is_none(), "{domain}: {failed:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wallets_are_those_that_the_statements_make() {
        // SHA-256 of "7"
        assert_eq!(format!("{:x}", wallet(7)), "7902699be42c8a8e46fbbb4501726517e86b22c5");
        assert!(
            statements(0, 1, 7, wallet(7))
                .iter()
                .any(|(_, text)| text.contains("'7902699be42c8a8e46fbbb4501726517e86b22c5'"))
        );
    }
}
