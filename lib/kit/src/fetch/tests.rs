//! Against servers that misbehave, and names that mean what they should not.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use nepto_testkit::{Answer, UntrustedHost};

use super::*;

const LOOPBACK: &str = "127.0.0.1";
/// An address of the internet that nothing is sent to: connections to it come to nothing within the time limit.
const PUBLIC: &str = "192.31.196.1";
const BYTES_MAX: usize = 10_000;
const WANTED: Wanted =
    Wanted { bytes_max: BYTES_MAX, accept: "application/json", is_type: |kind| kind == "application/json" };

/// Names and what they mean, each time that they are asked for.
#[derive(Default)]
struct Names {
    meanings: HashMap<&'static str, Vec<Vec<&'static str>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    fn new(names: &[(&'static str, &[&[&'static str]])]) -> Arc<Self> {
        let meanings = names.iter().map(|(name, times)| (*name, times.iter().map(|one| one.to_vec()).collect()));
        Arc::new(Self { meanings: meanings.collect(), asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Lookup for Names {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let before = self.asked().iter().filter(|asked| **asked == name).count();
        let times = self.meanings.get(name.as_str()).cloned().unwrap_or_default();
        let found = times.get(before).or(times.last()).cloned();
        self.asked.lock().unwrap().push(name);
        Box::pin(async move {
            let found = found.ok_or_else(|| io::Error::other("no such name"))?;
            Ok(found.iter().map(|address| address.parse().unwrap()).collect())
        })
    }
}

/// Short times, a test's own server allowed.
fn config(host: &UntrustedHost) -> config::Fetch {
    config::Fetch {
        http: true,
        ports: vec![host.address().port()],
        addresses: vec![LOOPBACK.parse().unwrap()],
        connect_timeout_ms: 300,
        timeout_ms: 1_000,
        ..config::Fetch::default()
    }
}

/// The source of what an operator names whose gateway is that server's `/ipfs/`.
fn operators(host: &UntrustedHost) -> UrlSource {
    UrlSource::Operator { below: host.url("/ipfs").parse().unwrap() }
}

async fn get(fetcher: &Fetcher, url: &str) -> Result<Bytes, FetchError> {
    fetcher.fetch(&url.parse().unwrap(), &UrlSource::Untrusted, &WANTED).await
}

#[tokio::test]
async fn a_good_file_comes_and_nothing_else_goes_along() {
    let host = UntrustedHost::start().await.unwrap();
    host.answer("/1.json", Answer::json("{\"name\":\"one\"}"));
    host.answer("/moved", Answer::Redirect("/1.json".into()));
    let fetcher = Fetcher::new(&config(&host)).unwrap();
    for path in ["/1.json", "/moved"] {
        assert_eq!(get(&fetcher, &host.url(path)).await.unwrap(), "{\"name\":\"one\"}");
    }
    for head in host.heads() {
        let names: Vec<String> =
            head.lines().filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
        assert_eq!(names, ["accept", "accept-encoding", "user-agent", "host"], "{head}");
        assert!(head.contains("accept-encoding: identity"), "{head}");
    }
}

#[tokio::test]
async fn what_is_not_what_was_asked_for_is_refused() {
    let host = UntrustedHost::start().await.unwrap();
    let large = vec![b' '; BYTES_MAX + 1];
    let fits = vec![b' '; BYTES_MAX];
    // a kilobyte that would become a megabyte, and a body that may be anything
    let bomb = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1, 1, 1, 0, 0];
    let gzip = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let announced = [("Content-Type", "application/json"), ("Content-Length", "100000000000")];
    for (path, answer, expected) in [
        ("/fits", Answer::File("application/json", fits.clone()), None),
        ("/unnamed", Answer::with_headers(&[], b"{}"), None),
        ("/charset", Answer::File("Application/JSON; charset=utf-8", b"{}".to_vec()), None),
        ("/large", Answer::File("application/json", large.clone()), Some(FetchError::TooLarge(BYTES_MAX))),
        ("/announced", Answer::with_headers(&announced, b"{}"), Some(FetchError::TooLarge(BYTES_MAX))),
        ("/unannounced", Answer::with_headers(&[], &large), Some(FetchError::TooLarge(BYTES_MAX))),
        ("/endless", Answer::Endless, Some(FetchError::TooLarge(BYTES_MAX))),
        ("/bomb", Answer::with_headers(&gzip, &bomb), Some(FetchError::Compressed("gzip".into()))),
        ("/page", Answer::File("text/html", fits), Some(FetchError::WrongType("text/html".into()))),
        ("/empty", Answer::status(204), Some(FetchError::Status(204))),
        ("/secret", Answer::status(401), Some(FetchError::Status(401))),
        ("/broken", Answer::status(500), Some(FetchError::Status(500))),
        ("/nothing", Answer::status(404), Some(FetchError::Status(404))),
    ] {
        host.answer(path, answer);
        let fetcher = Fetcher::new(&config(&host)).unwrap();
        assert_eq!(get(&fetcher, &host.url(path)).await.err(), expected, "{path}");
    }
}

#[tokio::test]
async fn time_has_a_bound_and_what_does_not_come_rests() {
    let host = UntrustedHost::start().await.unwrap();
    host.answer("/silence", Answer::Silence);
    host.answer("/drip", Answer::Drip(Duration::from_millis(20)));
    host.answer("/slowly", Answer::Redirect("/silence".into()));
    host.answer("/close", Answer::Close);
    host.answer("/garbage", Answer::Bytes(b"\x16\x03\x01 no HTTP\r\n\r\n".to_vec()));
    host.answer("/good", Answer::json("{}"));
    let fetcher = Fetcher::new(&config(&host)).unwrap();
    for (path, expected) in [
        ("/silence", FetchError::TimedOut),
        ("/drip", FetchError::TimedOut),
        ("/slowly", FetchError::TimedOut),
        ("/close", FetchError::Broken),
        ("/garbage", FetchError::Broken),
    ] {
        let started = Instant::now();
        assert_eq!(get(&fetcher, &host.url(path)).await, Err(expected), "{path}");
        assert!(started.elapsed() < Duration::from_millis(1_500), "{path}: {:?}", started.elapsed());
        let asked = host.heads().len();
        assert_eq!(get(&fetcher, &host.url(path)).await, Err(FetchError::FileRests), "{path}");
        assert_eq!(host.heads().len(), asked, "a file that rests is not asked for");
        // on the same host lie the files of others
        assert_eq!(get(&fetcher, &host.url("/good")).await.unwrap(), "{}", "after {path}");
    }
}

#[tokio::test]
async fn a_host_that_takes_no_connection_rests_with_all_its_files() {
    let (host, gone) = (UntrustedHost::start().await.unwrap(), UntrustedHost::start().await.unwrap());
    let port = gone.address().port();
    let ports = vec![host.address().port(), port];
    drop(gone);
    host.answer("/good", Answer::json("{}"));
    host.answer("/there", Answer::Redirect(format!("http://127.0.0.1:{port}/2")));
    let names = Names::new(&[("nothing.example.org", &[&[]]), ("closed.example.org", &[&["10.0.0.1"]])]);
    let fetcher = Fetcher::with_lookup(&config::Fetch { ports, ..config(&host) }, names).unwrap();
    assert_eq!(get(&fetcher, &format!("http://127.0.0.1:{port}/1")).await, Err(FetchError::Unreachable));
    for url in [format!("http://127.0.0.1:{port}/2"), host.url("/there")] {
        assert_eq!(get(&fetcher, &url).await, Err(FetchError::HostRests), "{url}");
    }
    assert_eq!(get(&fetcher, &host.url("/good")).await.unwrap(), "{}");
    // a name that is closed rests like one that does not exist
    for name in ["nothing", "closed"] {
        let url = format!("http://{name}.example.org:{port}/");
        assert!(matches!(get(&fetcher, &url).await, Err(FetchError::Nowhere { .. })), "{name}");
        assert_eq!(get(&fetcher, &url).await, Err(FetchError::HostRests), "{name}");
    }
}

#[tokio::test]
async fn a_gateway_is_asked_wherever_it_is_and_only_below_its_path() {
    let host = UntrustedHost::start().await.unwrap();
    host.answer("/ipfs/slow", Answer::Silence);
    host.answer("/ipfs/1", Answer::json("{}"));
    host.answer("/ipfs/moved", Answer::Redirect("/ipfs/1".into()));
    host.answer("/admin", Answer::json("{}"));
    // loopback addresses that no stranger could have asked
    let fetcher = Fetcher::new(&config::Fetch { timeout_ms: 300, ..config::Fetch::default() }).unwrap();
    let source = operators(&host);
    let get = async |path| fetcher.fetch(&host.url(path).parse().unwrap(), &source, &WANTED).await;
    assert_eq!(get("/ipfs/slow").await, Err(FetchError::TimedOut));
    assert_eq!(get("/ipfs/1").await.unwrap(), "{}");
    assert_eq!(get("/ipfs/moved").await.unwrap(), "{}");
    assert!(matches!(super::tests::get(&fetcher, &host.url("/ipfs/1")).await, Err(FetchError::Forbidden(_))));
    let asked = host.heads().len();
    for (number, to) in ["/admin", "../admin", "/ipfs/../admin", "/ipfs/..%2fadmin", "/ipfsx"].into_iter().enumerate() {
        let path = format!("/ipfs/away{number}");
        host.answer(&path, Answer::Redirect(to.into()));
        let refused = fetcher.fetch(&host.url(&path).parse().unwrap(), &source, &WANTED).await;
        assert!(matches!(refused, Err(FetchError::Forbidden(_))), "{to}: {refused:?}");
        assert_eq!(host.heads().len(), asked + number + 1, "{to} was not asked");
    }
    assert!(matches!(get("/admin").await, Err(FetchError::Forbidden(_))));
}

#[tokio::test]
async fn redirects_are_checked_again_and_counted() {
    let (host, inner) = (UntrustedHost::start().await.unwrap(), UntrustedHost::start().await.unwrap());
    inner.answer("/secret", Answer::json("{}"));
    let port = inner.address().port();
    let chain = |path: &str, to: &str| host.answer(path, Answer::Redirect(to.to_owned()));
    host.answer("/end", Answer::json("{}"));
    for (path, to) in [("/3", "/2"), ("/2", "/1"), ("/1", "/end"), ("/4", "/3"), ("/loop", "/loop")] {
        chain(path, to);
    }
    let names = Names::new(&[("inner.example.org", &[&[LOOPBACK]]), ("outer.example.org", &[&[LOOPBACK]])]);
    let lenient = Fetcher::with_lookup(&config(&host), names).unwrap();
    assert_eq!(get(&lenient, &host.url("/3")).await.unwrap(), "{}");
    assert_eq!(get(&lenient, &host.url("/4")).await, Err(FetchError::Redirects));
    assert_eq!(get(&lenient, &host.url("/loop")).await, Err(FetchError::Redirects));
    // none of these may be asked, whoever sends there
    for to in [
        inner.url("/secret"),
        format!("http://localhost:{port}/secret"),
        format!("http://127.1:{port}/secret"),
        format!("http://[::1]:{port}/secret"),
        format!("//2130706433:{port}/secret"),
        format!("http://user@127.0.0.1:{}/end", host.address().port()),
        "file:///etc/passwd".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "gopher://127.0.0.1:6379/_FLUSHALL".to_owned(),
        "http://[".to_owned(),
    ] {
        chain("/ipfs/away", &to);
        let refused = get(&lenient, &host.url("/ipfs/away")).await;
        assert!(matches!(refused, Err(FetchError::Forbidden(_))), "{to}: {refused:?}");
        // neither does the operator's source reach beyond the operator's own host
        let source = operators(&host);
        let refused = lenient.fetch(&host.url("/ipfs/away").parse().unwrap(), &source, &WANTED).await;
        assert!(matches!(refused, Err(FetchError::Forbidden(_))), "{to}: {refused:?}");
    }
    assert!(inner.heads().is_empty(), "{:?}", inner.heads());
}

#[tokio::test]
async fn a_name_is_resolved_once_and_must_lead_outside_with_every_address() {
    let host = UntrustedHost::start().await.unwrap();
    host.answer("/", Answer::json("{}"));
    let names = Names::new(&[
        ("loopback.example.org", &[&[LOOPBACK]]),
        ("mapped.example.org", &[&["::ffff:127.0.0.1"]]),
        ("mixed.example.org", &[&[PUBLIC, LOOPBACK]]),
        ("metadata.example.org", &[&["169.254.169.254"]]),
        ("nat64.example.org", &[&["64:ff9b::7f00:1"]]),
        ("nothing.example.org", &[&[]]),
        ("rebind.example.org", &[&[PUBLIC], &[LOOPBACK]]),
    ]);
    let strict = config::Fetch { addresses: Vec::new(), timeout_ms: 600, ..config(&host) };
    let fetcher = Fetcher::with_lookup(&strict, names.clone()).unwrap();
    let port = host.address().port();
    let get_name = async |name: &str| get(&fetcher, &format!("http://{name}.example.org:{port}/")).await;
    for name in ["loopback", "mapped", "mixed", "metadata", "nat64"] {
        let refused = get_name(name).await.unwrap_err();
        assert_eq!(refused, FetchError::Nowhere { is_closed: true }, "{name}");
    }
    for name in ["nothing", "unknown"] {
        assert_eq!(get_name(name).await, Err(FetchError::Nowhere { is_closed: false }), "{name}");
    }
    let told = |is_closed| FetchError::Nowhere { is_closed }.to_string();
    assert_eq!(told(true), told(false), "the reason tells nothing of our network");
    // the second answer, which leads here, is never asked for: the connection goes to the first, which was checked
    let rebound = get_name("rebind").await;
    assert!(matches!(rebound, Err(FetchError::Unreachable)), "{rebound:?}");
    assert_eq!(names.asked().iter().filter(|name| *name == "rebind.example.org").count(), 1);
    assert!(host.heads().is_empty(), "{:?}", host.heads());
    // a name that leads to an address that is allowed
    let names = Names::new(&[("loopback.example.org", &[&[LOOPBACK]])]);
    let lenient = Fetcher::with_lookup(&config(&host), names).unwrap();
    assert_eq!(get(&lenient, &format!("http://loopback.example.org:{port}/")).await.unwrap(), "{}");
    assert!(host.heads()[0].to_ascii_lowercase().contains(&format!("host: loopback.example.org:{port}")));
}

#[tokio::test]
async fn one_host_is_asked_by_few_at_once() {
    let host = UntrustedHost::start().await.unwrap();
    host.answer("/silence", Answer::Silence);
    let fetcher = Fetcher::new(&config(&host)).unwrap();
    let url = host.url("/silence");
    let outcomes = join_all((0..10).map(|_| get(&fetcher, &url))).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(FetchError::TimedOut)).count(), 2);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(FetchError::FileRests)).count(), 8);
    assert_eq!(host.most_at_once(), 2);
}
