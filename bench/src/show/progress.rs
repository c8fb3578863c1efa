//! The progress bars of the scenarios, on a terminal only.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::ledger::Ledger;
use crate::stamp::Phase;

/// A bar with rate and estimate.
pub fn progress(what: &'static str, length: u64) -> ProgressBar {
    let form = "{msg:>20} {wide_bar} {pos}/{len} {per_sec:>10} {eta:>4}";
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(what)
}

/// A bar that follows the deliveries of the measured phase.
pub struct Watch {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

/// Follows the ledger until told to stop; 0 expected is any number.
pub fn watch(ledger: Arc<Ledger>, expected: u64) -> Watch {
    let bar = progress("measuring", expected);
    let shown = bar.clone();
    let task = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let (sent, delivered) = {
                let counts = ledger.counts();
                (counts.sent[Phase::Measured as usize], counts.delivered[Phase::Measured as usize])
            };
            shown.set_length(expected.max(sent));
            shown.set_position(delivered);
        }
    });
    Watch { bar, task }
}

impl Watch {
    /// Takes the bar away.
    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
        self.bar.finish_and_clear();
    }
}
