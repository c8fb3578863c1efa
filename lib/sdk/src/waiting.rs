//! Waiting for somebody's answer. Where that takes long the log says so, once, for programs that people sit in front of.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// People wonder from then on.
const LONG: Duration = Duration::from_secs(2);

/// Whether it was said already. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Waiting(Arc<AtomicBool>);

impl Waiting {
    /// The answer, however long it takes.
    pub async fn for_answer<T>(&self, whom: impl std::fmt::Display, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        if let Ok(answer) = tokio::time::timeout(LONG, &mut answer).await {
            return answer;
        }
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::info!(target: "nepto_sdk::waiting", "Waiting for {whom} …");
        }
        answer.await
    }
}
