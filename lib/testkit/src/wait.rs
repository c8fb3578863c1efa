//! Waiting for something to become true, with a bound.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Whole seconds, for bounds in tests.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Asks again until the answer is `true`; an error counts as "not yet". Fails after `within`, with the last error.
pub async fn eventually(within: Duration, mut ask: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(5);
    let mut last = "it was not true".to_owned();
    while started.elapsed() < within {
        // An answer that never comes must not outlast the bound.
        match tokio::time::timeout(within.saturating_sub(started.elapsed()), ask()).await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => last = format!("no answer; before that: {last}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    bail!("not within {within:?}: {last}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[tokio::test]
    async fn errors_are_asked_again_and_the_last_one_is_told() {
        let mut asked = 0;
        eventually(seconds(5), async || {
            asked += 1;
            if asked < 3 { Err(anyhow!("not yet")) } else { Ok(true) }
        })
        .await
        .unwrap();
        let error = eventually(Duration::from_millis(30), async || Err(anyhow!("the reason"))).await.unwrap_err();
        assert!(error.to_string().contains("the reason"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_bounded() {
        let started = Instant::now();
        eventually(Duration::from_millis(50), async || std::future::pending().await).await.unwrap_err();
        assert!(started.elapsed() < seconds(2));
    }
}
