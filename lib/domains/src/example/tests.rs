//! The example over a real socket of a real gateway: what any domain may do there, and what no domain may.

use std::net::SocketAddr;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use axum::Router;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use nepto_kit::config::Config;
use nepto_kit::domain::{Domain, Parts};
use nepto_kit::http::{self, Door};
use nepto_kit::job;
use nepto_kit::token::{Claims, Signer};
use nepto_kit::{Ctx, nats};
use nepto_proto::event::Event as _;
use nepto_proto::frame::{ClientKind, UnreadFrame, encode_kind, open_envelope};
use nepto_proto::subject::EVENTS_STREAM;
use nepto_proto::svc::auth::SessionState;
use nepto_proto::wire::{self, Hello, Ping, SendDm};
use nepto_proto::{CloseCode, ErrorCode, SessionId};
use nepto_testkit::{Nats, Port, Redis, eventually, seconds};
use prost::Message as _;
use redis::AsyncCommands;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest as _;

use super::consumers::QUEUES;
use super::frames::{BOARD, Follow, GO_ON, Say, Wait};
use super::{CountNotes, NoteMade};
use crate::auth::make_token_keys;
use crate::gateway::Gateway;
use crate::testing::account;

/// Field numbers of `ServerFrame`.
const ERROR: u32 = 2;
const WELCOME: u32 = 3;
const DRAIN: u32 = 11;
const PONG: u32 = 13;

/// A gateway in this process, with NATS and Redis.
struct World {
    ctx: Ctx,
    address: SocketAddr,
    signer: Signer,
    _port: Port,
    _redis: Redis,
    _nats: Nats,
}

impl World {
    /// Sockets with these domains behind them.
    async fn with(domains: &[Domain]) -> Self {
        let (ctx, signer, nats, redis) = context("").await;
        let router = gateway(&ctx, domains).await;
        Self::serve(ctx, signer, router, (nats, redis)).await
    }

    /// Everything that the example has, beside the sockets of all domains; and what its jobs are made of.
    async fn whole(settings: &str) -> (Self, Domain, Parts) {
        let (ctx, signer, nats, redis) = context(settings).await;
        provision(&ctx).await;
        let domains = crate::all_and_example();
        let example = domains.iter().copied().find(|domain| domain.name == "example").unwrap();
        let parts = example.open(&ctx).await.unwrap();
        parts.db().unwrap().migrate(example.schema).await.unwrap();
        tokio::spawn(parts.outbox().unwrap().clone().serve());
        let api = example.api.unwrap()(&parts).unwrap();
        for service in api.services {
            tokio::spawn(service.serve(ctx.clone()));
        }
        for consumer in example.consumers(&parts).unwrap() {
            tokio::spawn(consumer.serve(ctx.clone()));
        }
        let (routes, description) = api.routes.into_parts();
        assert!(description.openapi().paths.paths.contains_key("/v1/example/notes"));
        let router = gateway(&ctx, &domains).await.merge(routes);
        (Self::serve(ctx, signer, router, (nats, redis)).await, example, parts)
    }

    async fn serve(ctx: Ctx, signer: Signer, router: Router, (nats, redis): (Nats, Redis)) -> Self {
        let port = Port::reserve().unwrap();
        let (serving, address) = (ctx.clone(), port.address());
        let router = http::public(&ctx, router);
        tokio::spawn(async move {
            http::serve(
                &serving,
                "listener",
                http::listen("listener", address)?,
                Door::public(&serving.config.http),
                router,
            )
            .await
        });
        eventually(seconds(10), async || Ok(TcpStream::connect(address).await.is_ok())).await.unwrap();
        Self { ctx, address, signer, _port: port, _redis: redis, _nats: nats }
    }

    /// An access token of the first device of an account.
    async fn sign_in(&self, number: u128) -> String {
        let now_s = self.ctx.clock.now_ms() / 1_000;
        let claims = Claims {
            account: account(number),
            device: 1.try_into().unwrap(),
            session: SessionId::new(self.ctx.random.uuid(&self.ctx.clock)),
            iat: now_s,
            exp: now_s + 600,
        };
        let live = SessionState::Live.as_str();
        let () = self.ctx.redis.clone().set(SessionState::key(claims.session), live).await.unwrap();
        self.signer.sign(&claims).unwrap()
    }

    /// The first device of an account, connected and welcomed.
    async fn connect(&self, number: u128) -> Socket {
        let access_token = self.sign_in(number).await;
        let mut request = format!("ws://{}/v1/socket", self.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "nepto.v1".parse().unwrap());
        let (ws, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        let mut socket = Socket { ws };
        socket.send(1, &Hello { access_token, resume: None }).await;
        assert_eq!(socket.next().await, (1, WELCOME));
        socket
    }

    /// Makes a note over HTTP; the status of the answer.
    async fn make_note(&self, token: &str, text: &str) -> u16 {
        let body = serde_json::json!({ "text": text }).to_string();
        let head = format!(
            "POST /v1/example/notes HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn notes(&self) -> u64 {
        self.ctx.call(&CountNotes {}).await.unwrap()
    }
}

/// The routes of a gateway, with all that runs beside it.
async fn gateway(ctx: &Ctx, domains: &[Domain]) -> Router {
    let (gateway, parts) = Gateway::new(ctx, domains).await.unwrap();
    for (_, part) in parts {
        tokio::spawn(part);
    }
    gateway.routes()
}

/// The streams, and the example's consumer as `nats/streams.toml` would declare it.
async fn provision(ctx: &Ctx) {
    nats::provision(&ctx.jetstream, &ctx.config.nats, &crate::streams(&ctx.config), false).await.unwrap();
    let events = ctx.jetstream.get_stream(EVENTS_STREAM).await.unwrap();
    for queue in QUEUES {
        let consumer = pull::Config {
            durable_name: Some((*queue).to_owned()),
            filter_subject: NoteMade::subject(),
            ..pull::Config::default()
        };
        events.create_consumer(consumer).await.unwrap();
    }
}

async fn context(settings: &str) -> (Ctx, Signer, Nats, Redis) {
    let (nats, redis) = tokio::join!(Nats::start(), Redis::start());
    let (nats, redis) = (nats.unwrap(), redis.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let [private, public] = ["tokens.pem", "tokens.pub.pem"].map(|name| folder.path().join(name));
    let text = format!(
        "[nats]\nurl = {:?}\nshards = 1\n[redis]\nurl = {:?}\n[database]\nurl = \"mem://\"\n\
         [tokens]\nsigning_key_file = {private:?}\nverifying_key_file = {public:?}\n{settings}",
        nats.url(),
        redis.url()
    );
    let config = Config::parse(&text, [], &crate::sections_of(&crate::all_and_example())).unwrap();
    make_token_keys(&config).unwrap();
    let signer = Signer::load(&private).unwrap();
    (Ctx::connect(config, true).await.unwrap(), signer, nats, redis)
}

struct Socket {
    ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    async fn send<M: ClientKind>(&mut self, id: u32, message: &M) {
        self.ws.send(Message::Binary(encode_kind(id, M::NUMBER, message))).await.unwrap();
    }

    /// The next frame.
    async fn frame(&mut self) -> UnreadFrame {
        loop {
            match tokio::time::timeout(seconds(10), self.ws.next()).await.expect("nothing came") {
                Some(Ok(Message::Binary(bytes))) => return open_envelope(bytes, |field| field > 1).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// What it answers, and of which kind it is.
    async fn next(&mut self) -> (u32, u32) {
        let UnreadFrame { id, kind } = self.frame().await;
        (id, kind.unwrap().0)
    }

    /// The code of the refusal that comes next.
    async fn refusal(&mut self) -> (u32, ErrorCode) {
        let UnreadFrame { id, kind } = self.frame().await;
        let (ERROR, error) = kind.unwrap() else { panic!("it was not refused") };
        (id, wire::Error::decode(error).unwrap().code.parse().unwrap())
    }

    async fn said(&mut self) -> Say {
        let UnreadFrame { id: 0, kind: Some((Say::NUMBER, said)) } = self.frame().await else {
            panic!("another frame")
        };
        Say::decode(said).unwrap()
    }

    /// The next frame of the example's kinds.
    async fn next_of_example(&mut self) -> (u32, u32, Bytes) {
        loop {
            if let UnreadFrame { id, kind: Some((kind @ Say::NUMBER.., bytes)) } = self.frame().await {
                return (id, kind, bytes);
            }
        }
    }

    /// Nothing comes for a while.
    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.ws.next()).await.is_err()
    }

    async fn close_code(&mut self) -> Option<CloseCode> {
        loop {
            match tokio::time::timeout(seconds(10), self.ws.next()).await.expect("never closed") {
                Some(Ok(Message::Close(close))) => {
                    return close.and_then(|close| CloseCode::from_number(close.code.into()));
                }
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_one_folder_and_one_line_bring_reaches_a_socket_from_a_request() {
    let (world, example, parts) = World::whole("[example]\ncharacters_max = 5\nkeep_for_s = 0\n").await;
    let (token, mut ann) = (world.sign_in(1).await, world.connect(2).await);
    ann.send(2, &Follow::default()).await;
    assert_eq!(ann.next_of_example().await, (2, Follow::NUMBER, Bytes::new()));
    // a route, the event in the outbox, its consumer, the live subject, a frame
    assert_eq!(world.make_note(&token, "hello").await, 204);
    let (0, Say::NUMBER, said) = ann.next_of_example().await else { panic!("another frame") };
    assert_eq!(Say::decode(said).unwrap().text, "hello");
    // a setting, an operation, a job
    assert_eq!(world.make_note(&token, "hello!").await, ErrorCode::TooLarge.status());
    assert_eq!(world.make_note("nobody", "hello").await, 401);
    assert_eq!(world.notes().await, 1);
    let jobs = example.jobs.unwrap()(&parts).unwrap();
    tokio::spawn(job::serve(world.ctx.clone(), parts.db().unwrap().clone(), jobs));
    eventually(seconds(10), async || Ok(world.notes().await == 0)).await.unwrap();
}

#[tokio::test]
async fn what_is_said_on_a_subject_is_heard_by_all_who_follow_it_and_encoded_once() {
    let world = World::with(&[crate::example::domain()]).await;
    let (mut ann, mut ben) = (world.connect(1).await, world.connect(2).await);
    for (round, socket) in [&mut ann, &mut ben].into_iter().enumerate() {
        socket.send(round as u32 + 2, &Follow::default()).await;
        assert_eq!(socket.next().await, (round as u32 + 2, Follow::NUMBER));
    }
    for number in 0..3 {
        let text = format!("word {number}");
        let say = Say { text: text.clone(), encoded: 0 };
        world.ctx.nats.publish(BOARD, say.encode_to_vec().into()).await.unwrap();
        for socket in [&mut ann, &mut ben] {
            assert_eq!(socket.said().await, Say { text: text.clone(), encoded: number });
        }
    }
    // by a frame, to both
    ann.send(9, &Say { text: "last".to_owned(), encoded: 0 }).await;
    assert_eq!(ben.said().await.text, "last");
    let answers = [ann.next().await, ann.next().await];
    assert!(answers.contains(&(9, Say::NUMBER)) && answers.contains(&(0, Say::NUMBER)), "{answers:?}");
    // who leaves hears no more, and the other one goes on
    ben.send(10, &Follow { leave: true }).await;
    assert_eq!(ben.next().await, (10, Follow::NUMBER));
    ben.send(11, &Say { text: "after".to_owned(), encoded: 0 }).await;
    assert_eq!(ann.said().await.text, "after");
    assert_eq!(ben.next().await, (11, Say::NUMBER));
    assert!(ben.is_silent().await);
}

#[tokio::test]
async fn a_kind_that_no_domain_here_takes_is_an_unknown_frame() {
    let world = World::with(&[crate::example::domain()]).await;
    let mut socket = world.connect(1).await;
    socket.send(2, &SendDm::default()).await;
    assert_eq!(socket.refusal().await, (2, ErrorCode::UnknownFrame));
    socket.ws.send(Message::Binary(encode_kind(3, 2015, &Ping {}))).await.unwrap();
    assert_eq!(socket.refusal().await, (3, ErrorCode::UnknownFrame));
    // a field that nobody knows, beside a kind that somebody does, changes nothing
    let more = [encode_kind(4, Ping::NUMBER, &Ping {}), encode_kind(0, 2015, &Ping {})].concat();
    socket.ws.send(Message::Binary(more.into())).await.unwrap();
    assert_eq!(socket.next().await, (4, PONG));
    socket.send(5, &Say::default()).await;
    assert_eq!(socket.refusal().await, (5, ErrorCode::Malformed), "a refusal of the domain's own");
    // what can't be read is no frame at all
    let garbage = Bytes::from_static(&[0x82, 0x7d, 0x02, 0x0a, 0x05]);
    socket.ws.send(Message::Binary(garbage)).await.unwrap();
    assert_eq!(socket.close_code().await, Some(CloseCode::Malformed));
}

#[tokio::test]
async fn two_domains_that_take_the_same_frames_do_not_start() {
    let (ctx, _, _nats, _redis) = context("").await;
    let refused = Gateway::new(&ctx, &[crate::example::domain(), crate::example::domain()]).await.err().unwrap();
    assert!(refused.to_string().contains("both take frames of the kind 2000"), "{refused}");
}

#[tokio::test]
async fn while_work_in_sequence_runs_its_domain_waits_and_others_do_not() {
    let world = World::with(&[crate::example::domain()]).await;
    let mut socket = world.connect(1).await;
    socket.send(2, &Wait {}).await;
    socket.send(3, &Ping {}).await;
    assert_eq!(socket.next().await, (3, PONG), "the gateway's own");
    // held, and with it everything behind it
    socket.send(4, &Follow { leave: true }).await;
    socket.send(5, &Ping {}).await;
    assert!(socket.is_silent().await);
    go_on(&world, &mut socket).await;
    let answers = [socket.next().await, socket.next().await];
    assert_eq!(answers, [(4, Follow::NUMBER), (5, PONG)]);
}

/// Lets the request 2 go on, as soon as it listens.
async fn go_on(world: &World, socket: &mut Socket) {
    let answered = async { assert_eq!(socket.next().await, (2, Wait::NUMBER)) };
    let again = async {
        loop {
            world.ctx.nats.publish(GO_ON, Bytes::new()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = answered => {}
        () = again => {}
    }
}

#[tokio::test]
async fn a_gateway_that_stops_answers_what_is_under_way() {
    let world = World::with(&[crate::example::domain()]).await;
    let mut socket = world.connect(1).await;
    socket.send(2, &Wait {}).await;
    socket.send(3, &Ping {}).await;
    assert_eq!(socket.next().await, (3, PONG));
    world.ctx.stop.cancel();
    assert_eq!(socket.next().await, (0, DRAIN));
    go_on(&world, &mut socket).await;
    assert_eq!(socket.close_code().await, Some(CloseCode::Restart));
}
