//! How fast a full outbox is published, and how fast dead letters are given back.
//!
//! `cargo build --workspace --examples`, then `target/debug/examples/work`. It starts NATS and Redis of its own, with the
//! configuration that is shipped, and keeps its database on the disk.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use nepto_kit::config::Config;
use nepto_kit::db::{Db, vars};
use nepto_kit::nats::{self, Bounds, ChannelBounds, Wanted};
use nepto_kit::outbox::{Outbox, Row};
use nepto_kit::{Ctx, dead_letters};
use nepto_proto::AccountId;
use nepto_proto::api::operator::{CountedDeadLetters, SettledDeadLetters};
use nepto_proto::event::{DeviceRemoved, Event};
use nepto_testkit::{Nats, Redis, eventually, seconds};
use serde::de::DeserializeOwned;
use tower::ServiceExt;
use uuid::Uuid;

const EVENTS: u128 = 30_000;
const LETTERS: u64 = 20_000;
const RUNS: usize = 3;
/// Somebody's (RFC 8410, 10.1). Nobody signs in here.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

#[tokio::main]
async fn main() -> Result<()> {
    let (nats_server, redis) = tokio::try_join!(Nats::start(), Redis::start())?;
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("tokens.pub.pem");
    std::fs::write(&key, PUBLIC_KEY)?;
    let settings = format!(
        "[nats]\nurl = {:?}\nshards = 1\n[redis]\nurl = {:?}\n[database]\nurl = \"surrealkv://{}\"\n[tokens]\n\
         verifying_key_file = {:?}\n",
        nats_server.url(),
        redis.url(),
        folder.path().join("database").display(),
        key.display().to_string()
    );
    let ctx = Ctx::connect(Config::parse(&settings, [], &[])?, true).await?;
    // mailboxes are of no interest here
    let sharded = Bounds {
        max_age: Duration::from_secs(3_600),
        duplicate_window: Duration::from_secs(120),
        messages_per_subject_max: 100,
        bytes_max: -1,
    };
    let channels = ChannelBounds { max_age: Duration::from_secs(3_600), bytes_max: -1 };
    let wanted = Wanted { sharded, channels, chains: Vec::new() };
    nats::provision(&ctx.jetstream, &ctx.config.nats, &wanted, false).await?;
    let db = ctx.databases.as_ref().context("a database")?.of("work").await?;
    db.migrate(&[]).await?;
    for _ in 0..RUNS {
        println!("outbox        {:>7.0} events/s of {EVENTS}", publish(&ctx, &db).await?);
    }
    let one = Request::get("/dead-letters/count").body(Body::empty())?;
    let empty: CountedDeadLetters = answer(&ctx, one).await?;
    ensure!(empty.letters == 0, "dead letters of somebody else");
    for filter in ["", "&consumer=auth-device-removed", "&reason=even"] {
        fill(&ctx).await?;
        let (settled, rate) = replay(&ctx, filter).await?;
        println!("dead letters  {rate:>7.0} replayed/s, {settled} of {LETTERS} with the filter {filter:?}");
        ctx.jetstream.get_stream("DLQ").await?.purge().await?;
    }
    Ok(())
}

fn removed(number: u128) -> Result<DeviceRemoved> {
    Ok(DeviceRemoved { account: AccountId::new(Uuid::from_u128(number)), device: 1.try_into()? })
}

/// Events a second, from the start of the relay until the outbox is empty.
async fn publish(ctx: &Ctx, db: &Db) -> Result<f64> {
    let numbers: Vec<u128> = (0..EVENTS).collect();
    for some in numbers.chunks(1_000) {
        let rows: Vec<Row> = some
            .iter()
            .map(|number| Ok(Row::new(&removed(*number)?, &ctx.clock, &ctx.random)?))
            .collect::<Result<_>>()?;
        db.transaction(vars! {}).emit(rows).execute().await?;
    }
    let begun = Instant::now();
    let relay = tokio::spawn(Outbox::new(ctx, db).serve());
    eventually(seconds(120), async || {
        let left: Vec<nepto_kit::db::RecordId> = db.run("SELECT VALUE id FROM outbox LIMIT 1", vars! {}).await?;
        Ok(left.is_empty())
    })
    .await?;
    let rate = EVENTS as f64 / begun.elapsed().as_secs_f64();
    relay.abort();
    Ok(rate)
}

/// Letters as a consumer makes them; every second one has another reason.
async fn fill(ctx: &Ctx) -> Result<()> {
    let mut acks = Vec::new();
    for number in 0..LETTERS {
        let reason = if number % 2 == 0 { "an even number" } else { "an odd number" };
        let headers = dead_letters::headers(&DeviceRemoved::subject(), reason);
        let body = serde_json::to_vec(&removed(number.into())?)?;
        let sent = ctx.jetstream.publish_with_headers("dlq.EVENTS.auth-device-removed", headers, body.into()).await?;
        acks.push(sent);
        if acks.len() == 500 {
            for ack in acks.drain(..) {
                ack.await?;
            }
        }
    }
    Ok(())
}

/// As `nepto admin dead-letters replay --all` does it: how many, and how many a second.
async fn replay(ctx: &Ctx, filter: &str) -> Result<(u64, f64)> {
    let begun = Instant::now();
    let (mut after, mut settled) = (0, 0);
    loop {
        let request = Request::post(format!("/dead-letters/replay?after={after}{filter}")).body(Body::empty())?;
        let some: SettledDeadLetters = answer(ctx, request).await?;
        ensure!(some.refused.is_empty(), "{:?}", some.refused);
        settled += some.settled;
        match some.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let took: Duration = begun.elapsed();
    Ok((settled, settled as f64 / took.as_secs_f64()))
}

async fn answer<T: DeserializeOwned>(ctx: &Ctx, request: Request<Body>) -> Result<T> {
    let response = dead_letters::routes(ctx.clone()).oneshot(request).await?;
    let body = to_bytes(response.into_body(), 1024 * 1024).await?;
    serde_json::from_slice(&body).with_context(|| String::from_utf8_lossy(&body).into_owned())
}
