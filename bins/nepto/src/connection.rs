//! Waiting on a connection, with a bound, while its events are taken.

use std::future::Future;
use std::io::Write;
use std::time::Duration;

use nepto_proto::ErrorCode;
use nepto_sdk::{Client, DisconnectReason, Event, Events, SdkError};
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::failure::{Exit, Failure};
use crate::json::disconnect_reason;
use crate::text::clean_line;

/// How long a command waits for the server unless it says otherwise.
pub const DEFAULT_TIMEOUT: &str = "20s";
/// How long receipts and prekeys, and then the last acknowledgement, may delay the end of a command. What is not sent then is sent with the next connection.
const FAREWELL: Duration = Duration::from_secs(5);

/// A connection, and why it is not there yet.
pub struct Connection {
    events: Events,
    lost: Option<String>,
    /// The server's address.
    server: String,
    /// Whether it is still to be told that the server can't be reached: once, and to people alone.
    may_note: bool,
}

impl Connection {
    pub async fn open(app: &App, client: &Client) -> Result<Self, Failure> {
        let server = client.http().server().to_string();
        Ok(Self { events: client.connect().await?, lost: None, server, may_note: !app.json() })
    }

    /// The next event. An event after which nothing follows is an error.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        let event = self.events.next().await.ok_or_else(|| Failure::other("the connection is over"))?;
        match &event {
            Event::SignedOut { code } => return Err(signed_out(*code)),
            Event::Superseded => {
                let detail = "this device connected from somewhere else; only one connection of a profile can live";
                return Err(Failure::new(Exit::Error, "superseded", detail));
            }
            Event::Refused { reason } => {
                let detail = format!("{}; this client and the server do not fit together", clean_line(reason));
                return Err(Failure::new(Exit::Error, "refused", detail));
            }
            Event::StoreFailed(reason) => return Err(Failure::new(Exit::Error, "profile", clean_line(reason))),
            Event::Disconnected { reason, .. } => self.lost = Some(clean_line(disconnect_reason(reason))),
            Event::Connected => self.lost = None,
            _ => {}
        }
        Ok(event)
    }

    /// The next event, or a failure once it is later than that.
    pub async fn next_by(&mut self, deadline: Instant) -> Result<Event, Failure> {
        let Ok(event) = timeout_at(deadline, self.next()).await else { return Err(self.timed_out()) };
        let event = event?;
        self.note(&event, deadline);
        Ok(event)
    }

    /// Waits until everything that the server has stored for this device arrived.
    pub async fn caught_up(&mut self, deadline: Instant, mut told: impl FnMut(&Event)) -> Result<(), Failure> {
        loop {
            match timeout_at(deadline, self.next()).await {
                Ok(event) => match event? {
                    Event::CaughtUp => return Ok(()),
                    event => {
                        self.note(&event, deadline);
                        told(&event);
                    }
                },
                Err(_) => return Err(self.timed_out()),
            }
        }
    }

    /// Waits for something to be done on the connection.
    pub async fn until<T>(
        &mut self,
        deadline: Instant,
        work: impl Future<Output = Result<T, SdkError>>,
        mut told: impl FnMut(&Event),
    ) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done?),
                event = timeout_at(deadline, self.next()) => match event {
                    Ok(event) => {
                        let event = event?;
                        self.note(&event, deadline);
                        told(&event);
                    }
                    Err(_) => return Err(self.timed_out()),
                },
            }
        }
    }

    /// Lets receipts and what else is queued go out, and the server's stock of prekeys be filled up, which nobody else does for
    /// a device that is never connected for long. Not worth an error: the queue survives, and the stock is looked at each time.
    pub async fn farewell(mut self, client: &Client, told: impl FnMut(&Event)) {
        let done = async {
            client.wait_all_sent().await?;
            client.wait_keys().await;
            Ok(())
        };
        self.may_note = false;
        let _ = self.until(Instant::now() + FAREWELL, done, told).await;
        let _ = timeout_at(Instant::now() + FAREWELL, client.close()).await;
    }

    /// Who waits reads at the first failure whom for, and how long yet.
    fn note(&mut self, event: &Event, deadline: Instant) {
        let is_lost = matches!(event, Event::Disconnected { reason: DisconnectReason::Lost(_), .. });
        let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
        if is_lost && left > 0.0 && std::mem::take(&mut self.may_note) {
            let server = &self.server;
            let _ = writeln!(std::io::stderr(), "Can't reach {server} yet, trying again for up to {left} s.");
        }
    }

    fn timed_out(&self) -> Failure {
        match &self.lost {
            // the reason may be a whole sentence of the SDK already
            Some(reason) => Failure::new(Exit::Unreachable, "unreachable", reason.clone()),
            None => Failure::timeout(&format!("{} did not answer in time", self.server)),
        }
    }
}

fn signed_out(code: Option<ErrorCode>) -> Failure {
    match code {
        Some(code) => Failure::from(SdkError::Server {
            code,
            detail: code.title().to_owned(),
            retry_after: None,
            devices: Vec::new(),
        }),
        None => SdkError::SignedOut.into(),
    }
}
