//! What systemd and this process tell each other (sd_notify(3), sd_listen_fds(3)): that it is ready, that it stops, that its loops
//! come round; and the public listener, which systemd keeps open while the process is replaced. Without systemd nothing happens.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use listenfd::ListenFd;
use nepto_kit::Ctx;
use sd_notify::NotifyState;
use tokio::net::TcpListener;

/// A start that fails takes so long, where the service manager keeps the port open. As soon as the process ends, whoever waits at
/// the port makes it start again; after more starts than `TriggerLimitBurst` allows, systemd closes the port for good
/// (systemd.socket(5)), and who mends the configuration has to know that.
const FAILED_START_MIN: Duration = Duration::from_secs(1);

/// The start of the process.
pub struct Start {
    begun: Instant,
    has_port: bool,
}

impl Start {
    /// It begins now.
    pub fn begin() -> Self {
        Self { begun: Instant::now(), has_port: std::env::var_os("LISTEN_FDS").is_some() }
    }

    /// It ends with this status, but not at once if others wait at the port.
    pub fn failed(&self, status: u8) -> ExitCode {
        if self.has_port {
            std::thread::sleep(FAILED_START_MIN.saturating_sub(self.begun.elapsed()));
        }
        ExitCode::from(status)
    }
}

/// The process serves: units that are ordered after this one may start.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The process finishes what it began.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Between two signs of life: half of what the service manager allows; none if it waits for none.
pub fn watchdog_pause() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|within| within / 2)
}

/// Says that the process is alive, as long as all of its loops come round. If one does not, the service manager ends the process
/// and starts another. This runs on the threads that everything runs on: if these are blocked, it says nothing either.
pub async fn keep_watchdog(ctx: Ctx, pause: Duration) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        match ctx.health.standing_still().as_slice() {
            [] => tell(NotifyState::Watchdog),
            still => tracing::error!(?still, "loops of this process stand still; the watchdog will end it"),
        }
    }
}

/// The listener that a socket unit keeps open for us, if there is one.
pub fn public_listener() -> anyhow::Result<Option<TcpListener>> {
    let inherited = ListenFd::from_env().take_tcp_listener(0);
    let Some(listener) = inherited.context("what the service manager passed is not a listening TCP socket")? else {
        return Ok(None);
    };
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    tracing::info!(address = %listener.local_addr()?, "listening on the socket of the service manager");
    Ok(Some(listener))
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager can't be told how this process is");
    }
}
