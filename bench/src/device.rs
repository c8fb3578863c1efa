//! One connected device: sends what it is told to, counts what arrives, and acknowledges like the SDK does.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{FutureExt, SinkExt, StreamExt};
use nepto_proto::frame;
use nepto_proto::wire::{Ack, Deliver, client_frame, server_frame};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};
use tokio_tungstenite::tungstenite::Message;

use crate::ledger::{Ledger, Seen};
use crate::stamp::{Phase, Stamp};
use crate::wire::{Socket, Template, encode};

/// Deliveries are acknowledged together: after so many,
const ACK_AFTER: u32 = 64;
/// or after so long.
const ACK_WITHIN: Duration = Duration::from_millis(50);
/// What is read before anything is written.
const READ_AT_ONCE: usize = 128;

/// What a device is told.
#[derive(Debug, Clone, Copy)]
pub enum Command {
    /// Send one message, which should have gone out at this time.
    Send {
        /// Microseconds of the ledger.
        intended_us: u64,
        /// Whether it counts.
        phase: Phase,
    },
    /// Send as fast as the answers come.
    Loop(Loop),
}

/// A closed loop.
#[derive(Debug, Clone, Copy)]
pub struct Loop {
    /// Whether its messages count.
    pub phase: Phase,
    /// Messages that may wait for an answer.
    pub window: u32,
    /// Messages in all.
    pub count: u32,
    /// When to stop, in microseconds of the ledger.
    pub until_us: u64,
}

/// A device and its connection.
pub struct Device {
    socket: Socket,
    commands: mpsc::UnboundedReceiver<Command>,
    ledger: Arc<Ledger>,
    template: Option<Template>,
    run: u32,
    number: u32,
    sent: u32,
    looping: Option<Loop>,
    seen: Seen,
    unacknowledged: u32,
    newest: u64,
    ack_due: Pin<Box<Sleep>>,
}

impl Device {
    /// `number` is its place among all; without a template it only receives.
    pub fn new(
        socket: Socket,
        commands: mpsc::UnboundedReceiver<Command>,
        ledger: Arc<Ledger>,
        template: Option<Template>,
        run: u32,
        number: u32,
    ) -> Self {
        Self {
            socket,
            commands,
            ledger,
            template,
            run,
            number,
            sent: 0,
            looping: None,
            seen: Seen::default(),
            unacknowledged: 0,
            newest: 0,
            ack_due: Box::pin(sleep(Duration::ZERO)),
        }
    }

    /// Until whoever commands it lets go.
    pub async fn run(mut self) {
        if let Err(error) = self.work().await {
            self.ledger.counts().broke(format!("{error:#}"));
        }
    }

    async fn work(&mut self) -> Result<()> {
        loop {
            tokio::select! {
                message = self.socket.next() => {
                    self.on_message(message.transpose()?).await?;
                    for _ in 1..READ_AT_ONCE {
                        match self.socket.next().now_or_never() {
                            Some(message) => self.on_message(message.transpose()?).await?,
                            None => break,
                        }
                    }
                }
                command = self.commands.recv() => {
                    let Some(command) = command else { return self.leave().await };
                    self.on_command(command).await?;
                    while let Ok(command) = self.commands.try_recv() {
                        self.on_command(command).await?;
                    }
                }
                () = self.ack_due.as_mut(), if self.unacknowledged > 0 => self.acknowledge().await?,
            }
            self.socket.flush().await?;
        }
    }

    async fn on_command(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Send { intended_us, phase } => self.send(intended_us, phase).await,
            Command::Loop(asked) => {
                let first = asked.window.min(asked.count);
                self.looping = Some(Loop { count: asked.count - first, ..asked });
                for _ in 0..first {
                    self.send(self.ledger.now_us(), asked.phase).await?;
                }
                Ok(())
            }
        }
    }

    /// An answer came, so the next message of a closed loop may go.
    async fn go_on(&mut self) -> Result<()> {
        let now_us = self.ledger.now_us();
        let Some(looping) = self.looping.as_mut().filter(|looping| looping.count > 0 && now_us < looping.until_us)
        else {
            return Ok(());
        };
        looping.count -= 1;
        let phase = looping.phase;
        self.send(now_us, phase).await
    }

    async fn send(&mut self, intended_us: u64, phase: Phase) -> Result<()> {
        let template = self.template.as_ref().context("this device has nobody to write to")?;
        let stamp = Stamp { run: self.run, phase, sender: self.number, seq: self.sent, intended_us };
        self.sent += 1;
        let message = template.stamped(stamp);
        self.ledger.counts().sent(stamp, self.ledger.now_us());
        Ok(self.socket.feed(message).await?)
    }

    async fn on_message(&mut self, message: Option<Message>) -> Result<()> {
        let bytes = match message {
            Some(Message::Binary(bytes)) => bytes,
            Some(Message::Close(close)) => {
                bail!("the gateway closed: {}", close.map_or_else(String::new, |close| close.reason.to_string()))
            }
            None => bail!("the connection broke off"),
            Some(_) => return Ok(()),
        };
        match frame::decode_server(bytes)?.kind {
            Some(server_frame::Kind::Deliver(deliver)) => self.on_delivery(deliver).await,
            Some(server_frame::Kind::Stored(stored)) => {
                if let Some(stamp) = Stamp::read(&stored.client_msg_id) {
                    self.ledger.counts().stored(stamp, self.ledger.now_us());
                }
                self.go_on().await
            }
            Some(server_frame::Kind::Error(error)) => {
                self.ledger.counts().refused(format!("{}: {}", error.code, error.detail));
                self.go_on().await
            }
            Some(server_frame::Kind::Mismatch(mismatch)) => {
                self.ledger.counts().refused(format!("device mismatch: {mismatch:?}"));
                self.go_on().await
            }
            _ => Ok(()),
        }
    }

    async fn on_delivery(&mut self, deliver: Deliver) -> Result<()> {
        let now_us = self.ledger.now_us();
        let envelope = deliver.envelope.context("a delivery without an envelope")?;
        let stamp =
            Stamp::read(&envelope.ciphertext).filter(|_| envelope.ciphertext.starts_with(&envelope.client_msg_id));
        let stamp = stamp.context("a ciphertext was damaged")?;
        if stamp.run == self.run {
            let new = self.seen.is_new(stamp.seq);
            let mut counts = self.ledger.counts();
            if new { counts.delivered(stamp, now_us) } else { counts.duplicated += 1 }
        }
        if self.unacknowledged == 0 {
            self.ack_due.as_mut().reset(Instant::now() + ACK_WITHIN);
        }
        self.unacknowledged += 1;
        self.newest = deliver.seq;
        if self.unacknowledged >= ACK_AFTER { self.acknowledge().await } else { Ok(()) }
    }

    async fn acknowledge(&mut self) -> Result<()> {
        self.unacknowledged = 0;
        Ok(self.socket.feed(encode(0, client_frame::Kind::Ack(Ack { up_to: self.newest }))).await?)
    }

    async fn leave(&mut self) -> Result<()> {
        if self.unacknowledged > 0 {
            self.acknowledge().await?;
        }
        Ok(self.socket.close(None).await?)
    }
}
