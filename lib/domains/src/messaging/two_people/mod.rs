//! Two people, and everything that they can do to each other in six steps: who may write, what is a request, who is a
//! contact, how many requests are left. The law is `model.rs`; here it is compared with the real checks, over the real
//! store, a real Redis and a real NATS.
//!
//! Exhaustive, without trying all interleavings: two paths that lead to the same state, of the law and of what Redis
//! remembers, go on alike, so only one of them is gone on with. Every step is tried from every state, on accounts that are
//! new each time: they get copies of the rows and keys of the two who reached it, so that no path is gone twice.
//!
//! The database is what takes the time. So what is copied from one state, and what is looked at after its steps, goes through
//! it at once for all of them.

mod model;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use futures_util::future::join_all;
use nepto_kit::domain::Parts;
use nepto_kit::service::Service;
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::accounts::Consent;
use nepto_proto::api::auth::Wallets;
use nepto_proto::svc::accounts::Verdict;
use nepto_proto::svc::auth::{FindAccount, FoundAccount};
use nepto_proto::svc::keys::{DeviceList, ListDevices};
use nepto_proto::wire::{CiphertextType, DeviceCiphertext, SendDm};
use nepto_proto::{AccountId, ClientMsgId, DeviceId, ErrorCode};
use nepto_testkit::{Nats, Redis};
use redis::AsyncCommands;

use self::model::{Act, Outcome, Person, REQUESTS_MAX, happens};
use super::config::{Limits, Mailbox};
use super::costs::Parties;
use super::requests::{self, Counted};
use super::send::{self, Refusal};
use crate::accounts::{Accounts, writing_key};
use crate::testing::{account, connected, database};

/// Steps of a path.
const STEPS_MAX: usize = 6;
/// States that are gone on from at once, with every step.
const STATES_AT_ONCE: usize = 2;
/// Counters that nobody fills in so few steps.
const OUT_OF_REACH: [&str; 3] = ["limit:sends:", "limit:sends_to:", "limit:new_contacts:"];
/// What is copied by itself, because it has the other's id in it.
const REQUESTS: [&str; 2] = ["limit:requested:", "limit:request_ids"];

type Step = (usize, Act);
/// A state: each person with what Redis remembers of their standing. Whose is whose does not matter.
type State = [String; 2];

/// Device lists by account, as the domain `keys` has them.
type Lists = Arc<Mutex<HashMap<AccountId, DeviceList>>>;

struct World {
    ctx: Ctx,
    accounts: Accounts,
    lists: Lists,
    people: AtomicU64,
}

impl World {
    async fn new(nats: &Nats, redis: &Redis) -> Self {
        let ctx = connected(nats, redis, |config| {
            config.set_section(Limits { request_messages: REQUESTS_MAX.into(), ..Limits::default() });
            config.set_section(crate::accounts::Limits { new_contacts_per_day: u32::MAX });
            // however long the walk takes: what is sent again in it is a repetition
            config.set_section(Mailbox { duplicate_window_s: 3_600, ..Mailbox::default() });
        });
        let ctx = ctx.await;
        let domain = crate::accounts::domain();
        let db = database(domain).await;
        let parts = Parts::new(&ctx, db);
        let lists = Lists::default();
        let mut services = domain.api.unwrap()(&parts).unwrap().services;
        services.extend([everybody_exists(), lists_of(&ctx, lists.clone())]);
        for service in services {
            tokio::spawn(service.serve(ctx.clone()));
        }
        Self { accounts: Accounts::new(&parts).unwrap(), ctx, lists, people: AtomicU64::new(0) }
    }

    /// Two accounts that nobody knows.
    fn strangers(&self) -> Pair<'_> {
        let number = self.people.fetch_add(2, Ordering::Relaxed);
        Pair { world: self, accounts: [number, number + 1].map(|number| account(number.into())), sent: [None, None] }
    }

    /// Two people who never met, each with two devices.
    async fn pair(&self) -> Pair<'_> {
        let pair = self.strangers();
        for account in pair.accounts {
            pair.relist(account, true).await;
        }
        pair
    }

    /// So many others, two by two, who are where these two got.
    async fn fork(&self, reached: &Reached, count: usize) -> Vec<Pair<'_>> {
        let forks: Vec<Pair<'_>> = (0..count).map(|_| Pair { sent: reached.sent, ..self.strangers() }).collect();
        let accounts: Vec<[AccountId; 2]> = forks.iter().map(|fork| fork.accounts).collect();
        self.accounts.copy_two(reached.accounts, &accounts).await;
        let mut restore = redis::pipe();
        let [one, other] = reached.accounts;
        let requests = [Counted::of(&self.ctx, one, other).await, Counted::of(&self.ctx, other, one).await];
        for fork in &forks {
            let [one, other] = fork.accounts;
            requests[0].copy(&mut restore, one, other);
            requests[1].copy(&mut restore, other, one);
            for (account, list) in fork.accounts.into_iter().zip(&reached.lists) {
                self.lists.lock().unwrap().insert(account, list.clone());
            }
            for (key, value) in fork.remembered().iter().zip(&reached.remembered) {
                if let Some((value, ttl_ms)) = value {
                    restore.cmd("RESTORE").arg(key).arg((*ttl_ms).max(0)).arg(value).ignore();
                }
            }
        }
        if !restore.is_empty() {
            let () = restore.query_async(&mut self.ctx.redis.clone()).await.unwrap();
        }
        forks
    }

    fn list(&self, of: AccountId) -> DeviceList {
        self.lists.lock().unwrap().get(&of).cloned().unwrap_or_default()
    }

    /// The state, and all that is needed to go on from it.
    fn reached(
        &self,
        Arrived { state, path, people, accounts, sent, remembered }: Arrived,
    ) -> (State, Option<Reached>) {
        let lists = accounts.map(|account| self.list(account));
        (state, remembered.map(|remembered| Reached { path, people, accounts, lists, sent, remembered }))
    }

    /// Every kind of key in Redis, without whose it is. Those of the connection itself are not about people.
    async fn kinds_of_keys(&self) -> BTreeSet<String> {
        let keys: Vec<String> = self.ctx.redis.clone().keys("*").await.unwrap();
        keys.iter().filter(|key| !key.starts_with("nepto:")).map(|key| kind_of(key)).collect()
    }
}

/// A key without the accounts in it.
fn kind_of(key: &str) -> String {
    key.split(':').filter(|part| part.parse::<AccountId>().is_err()).collect::<Vec<_>>().join(":")
}

/// A state that two people reached, with all that is needed to go on from it again and again.
struct Reached {
    path: Vec<Step>,
    people: [Person; 2],
    accounts: [AccountId; 2],
    lists: [DeviceList; 2],
    sent: [Option<ClientMsgId>; 2],
    remembered: Remembered,
}

/// Of each key that Redis had, its value as Redis writes it and the milliseconds it had left, if it had a time.
type Remembered = Vec<Option<(Vec<u8>, i64)>>;

/// Where two people are after a step.
struct Arrived {
    state: State,
    path: Vec<Step>,
    people: [Person; 2],
    accounts: [AccountId; 2],
    sent: [Option<ClientMsgId>; 2],
    /// If somebody may go on from here.
    remembered: Option<Remembered>,
}

fn everybody_exists() -> Service {
    Service::new(|asked: FindAccount| async move {
        let FindAccount::Id(account) = asked else { return Ok(None) };
        let wallets = Wallets { root: account.to_string(), wallets: Vec::new(), links: Vec::new() };
        Ok(Some(FoundAccount { account, wallets }))
    })
}

fn lists_of(ctx: &Ctx, lists: Lists) -> Service {
    let ctx = ctx.clone();
    Service::new(move |asked: ListDevices| {
        let (ctx, list) = (ctx.clone(), lists.lock().unwrap()[&asked.account].clone());
        async move {
            let () = ctx.redis.clone().set(DeviceList::cache_key(asked.account), list.encode()).await?;
            Ok::<_, Failure>(list)
        }
    })
}

struct Pair<'w> {
    world: &'w World,
    accounts: [AccountId; 2],
    sent: [Option<ClientMsgId>; 2],
}

impl Pair<'_> {
    async fn act(&mut self, (who, act): Step) -> Outcome {
        let [me, other] = [self.accounts[who], self.accounts[1 - who]];
        let consent = match act {
            Act::Accept => Consent::Accepted,
            Act::Block => Consent::Blocked,
            Act::Unblock => Consent::Requested,
            Act::Relink => {
                let had_any = !self.list(me).devices.is_empty();
                self.relist(me, !had_any).await;
                return Outcome::None;
            }
            Act::Wait => return self.wait().await,
            Act::Flush => return self.flush().await,
            Act::WrongDevices => {
                let others = self.write(who, act, [true, false]).await;
                let own = self.write(who, act, [false, true]).await;
                assert_eq!(others, own);
                return own;
            }
            Act::Write | Act::Retry | Act::WriteAndDie => return self.write(who, act, [false, false]).await,
        };
        self.world.accounts.decide(me, other, consent).await.unwrap();
        Outcome::None
    }

    /// Writes, leaving a device of the other or one's own out if asked to.
    async fn write(&mut self, who: usize, act: Act, [theirs, own]: [bool; 2]) -> Outcome {
        let [me, other] = [self.accounts[who], self.accounts[1 - who]];
        let device = DeviceId::try_from(1).unwrap();
        let known = self.sent[who].filter(|_| act == Act::Retry);
        let random = || ClientMsgId::new(self.world.ctx.random.uuid(&self.world.ctx.clock));
        let id = known.unwrap_or_else(random);
        let mut to_devices = copies(self.list(other));
        let mut own_devices = copies(self.list(me).without(device));
        if theirs {
            to_devices.pop();
        }
        if own {
            own_devices.clear();
        }
        let client_msg_id = id.to_vec();
        let sent = SendDm { client_msg_id, to: other.to_vec(), to_devices, own_devices, ..SendDm::default() };
        let ctx = &self.world.ctx;
        let (known, _) = send::ask_redis(ctx, &Parties::new(me, other), None).await.unwrap();
        let cleared = match send::check(ctx, (me, device), other, id, &sent, known).await {
            Ok(cleared) => cleared,
            Err(Refusal::Mismatch(mismatch)) => {
                assert_eq!(mismatch.account, if own { me } else { other }.to_vec());
                return Outcome::Mismatch;
            }
            Err(Refusal::Failure(failure)) => {
                return match failure.code {
                    ErrorCode::DeviceUnknown => Outcome::DeviceUnknown,
                    ErrorCode::Blocked => Outcome::Blocked,
                    ErrorCode::YouBlocked => Outcome::YouBlocked,
                    ErrorCode::RequestLimit => Outcome::RequestLimit,
                    _ => panic!("{failure:?}"),
                };
            }
        };
        self.sent[who] = Some(id);
        if act != Act::WriteAndDie {
            send::noted(ctx, me, other, cleared).await.unwrap();
        }
        Outcome::Stored { request: cleared.request }
    }

    fn list(&self, of: AccountId) -> DeviceList {
        self.world.list(of)
    }

    /// Gives an account two new devices, or none.
    async fn relist(&self, of: AccountId, linked: bool) {
        let revision = self.list(of).revision + 1;
        let device = |number: u32| (number.try_into().unwrap(), (revision as u32 * 2 + number).try_into().unwrap());
        let devices = if linked { vec![device(1), device(2)] } else { Vec::new() };
        let list = DeviceList { revision, devices };
        let () = self.world.ctx.redis.clone().set(DeviceList::cache_key(of), list.encode()).await.unwrap();
        self.world.lists.lock().unwrap().insert(of, list);
    }

    /// Everything that Redis knows of the two, but for their requests: what lasts, and what it knows for minutes or less.
    fn remembered(&self) -> [String; 6] {
        let [a, b] = self.accounts.map(DeviceList::cache_key);
        let [c, d, e, f] = self.brief();
        [a, b, c, d, e, f]
    }

    fn requests(&self) -> [String; 4] {
        let [one, other] = self.accounts;
        let of = |from, to| [requests::people_key(from, to), requests::messages_key(from)];
        let ([a, b], [c, d]) = (of(one, other), of(other, one));
        [a, b, c, d]
    }

    fn brief(&self) -> [String; 4] {
        let [one, other] = self.accounts;
        let brief = |from, to| [Verdict::cache_key(from, to), writing_key(from, to)];
        let ([a, b], [c, d]) = (brief(one, other), brief(other, one));
        [a, b, c, d]
    }

    async fn flush(&self) -> Outcome {
        self.forget(&self.requests()).await;
        self.forget(&self.remembered()).await
    }

    async fn wait(&self) -> Outcome {
        self.forget(&self.brief()).await
    }

    /// What Redis knows of the two at this moment.
    async fn recall(&self) -> Remembered {
        let (mut dump, mut time_left) = (redis::pipe(), redis::pipe());
        for key in self.remembered() {
            dump.cmd("DUMP").arg(&key);
            time_left.cmd("PTTL").arg(&key);
        }
        let mut redis = self.world.ctx.redis.clone();
        let values: Vec<Option<Vec<u8>>> = dump.query_async(&mut redis).await.unwrap();
        let ttls_ms: Vec<i64> = time_left.query_async(&mut redis).await.unwrap();
        values.into_iter().zip(ttls_ms).map(|(value, ttl_ms)| Some((value?, ttl_ms))).collect()
    }

    async fn forget(&self, keys: &[String]) -> Outcome {
        let () = self.world.ctx.redis.clone().del(keys).await.unwrap();
        Outcome::None
    }

    /// The state, as far as anything that follows may depend on it.
    async fn state(&self, people: [Person; 2]) -> State {
        let [one, other] = self.accounts;
        let keys = [Verdict::cache_key(one, other), Verdict::cache_key(other, one)];
        let cached: Vec<Option<String>> = self.world.ctx.redis.clone().mget(&keys).await.unwrap();
        let mut state = [0, 1].map(|who: usize| {
            let standing = cached[who].as_deref().map(|text| text.split('@').next().unwrap_or_default());
            format!("{:?} {standing:?}", people[who])
        });
        state.sort();
        state
    }
}

fn copies(list: DeviceList) -> Vec<DeviceCiphertext> {
    let copy = |(device, registration): &(DeviceId, nepto_proto::RegistrationId)| DeviceCiphertext {
        device: (*device).into(),
        registration_id: registration.get(),
        r#type: CiphertextType::Session.into(),
        ciphertext: b"x".to_vec().into(),
    };
    list.devices.iter().map(copy).collect()
}

/// Whether this is a step that somebody in this state can take.
fn can(people: [Person; 2], (who, act): Step) -> bool {
    let has_session = people[who].linked || matches!(act, Act::Relink | Act::Wait | Act::Flush);
    has_session && (act != Act::Retry || people[who].last.is_some())
}

fn steps() -> impl Iterator<Item = Step> {
    let of_one = Act::OF_ONE.into_iter().flat_map(|act| [(0, act), (1, act)]);
    of_one.chain(Act::OF_BOTH.map(|act| (0, act)))
}

/// Takes every step that there is from a state, after which the law and what happened must be the same. States that are
/// reached for the first time come with what is needed to go on from them, unless these were the last steps.
async fn go_on(world: &World, from: &Reached, known: &HashSet<State>, is_last: bool) -> Vec<(State, Option<Reached>)> {
    let steps: Vec<Step> = steps().filter(|step| can(from.people, *step)).collect();
    let forks = world.fork(from, steps.len()).await;
    let walks = forks.into_iter().zip(steps).map(|(mut pair, step)| async move {
        let mut people = from.people;
        let path: Vec<Step> = from.path.iter().copied().chain([step]).collect();
        let found = pair.act(step).await;
        let expected = happens(&mut people, step.0, step.1);
        assert_eq!(found, expected, "at the end of {path:?}");
        let state = pair.state(people).await;
        let is_new = !is_last && !known.contains(&state);
        // at once: some of it lives for seconds
        let remembered = if is_new { Some(pair.recall().await) } else { None };
        Arrived { state, path, people, accounts: pair.accounts, sent: pair.sent, remembered }
    });
    let arrived = join_all(walks).await;
    let accounts: Vec<[AccountId; 2]> = arrived.iter().map(|arrived| arrived.accounts).collect();
    let contacts = world.accounts.contacts_of_two(&accounts).await;
    let reached = arrived.into_iter().zip(contacts).map(|(arrived, contacts)| {
        let listed = arrived.people.map(|person| person.consent);
        assert_eq!(contacts, listed, "the contacts after {:?}", arrived.path);
        world.reached(arrived)
    });
    reached.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_two_people_do_in_six_steps_the_law_holds() {
    let (nats, redis) = tokio::join!(Nats::start(), Redis::start());
    let (nats, redis) = (nats.unwrap(), redis.unwrap());
    let world = World::new(&nats, &redis).await;
    let mut known: HashSet<State> = HashSet::new();
    let (pair, people) = (world.pair().await, [Person::NEW; 2]);
    assert_eq!(world.accounts.contacts_of_two(&[pair.accounts]).await, [people.map(|person| person.consent)]);
    let (accounts, sent, remembered) = (pair.accounts, pair.sent, pair.recall().await);
    let lists = accounts.map(|account| world.list(account));
    let mut from = vec![Reached { path: Vec::new(), people, accounts, lists, sent, remembered }];
    let mut steps_taken = 0;
    for length in 1..=STEPS_MAX {
        let walks = from.iter().map(|from| go_on(&world, from, &known, length == STEPS_MAX));
        let arrived: Vec<_> = futures_util::stream::iter(walks).buffered(STATES_AT_ONCE).collect().await;
        let mut next = Vec::new();
        for (state, reached) in arrived.into_iter().flatten() {
            steps_taken += 1;
            if known.insert(state) {
                next.extend(reached);
            }
        }
        from = next;
        println!("{length} steps: {steps_taken} taken, {} states", known.len());
    }
    assert!(known.len() > 100, "only {} states", known.len());
    // what would not be copied: the limits of a minute and of a day, which are out of reach here
    let copied: BTreeSet<String> = world.strangers().remembered().iter().map(|key| kind_of(key)).collect();
    let others: Vec<String> = world.kinds_of_keys().await.difference(&copied).cloned().collect();
    let is_known = |kind: &String| OUT_OF_REACH.iter().chain(&REQUESTS).any(|known| kind.starts_with(known));
    assert!(others.iter().all(is_known), "these keys are not copied: {others:?}");
}
