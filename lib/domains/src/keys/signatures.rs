//! Where the signatures of uploads are checked: on threads that serve nobody else, on fewer than there are cores. Whoever uploads
//! waits for those who upload, and nobody who writes a message does.

use std::num::NonZero;
use std::sync::Arc;

use nepto_kit::Failure;
use tokio::sync::Semaphore;

/// Threads that check signatures, for all uploads of this process together.
#[derive(Clone)]
pub struct Threads(Arc<Semaphore>);

impl Threads {
    /// A thread for each core but one; at least one.
    pub fn all_but_one() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::new(cores - 1)
    }

    fn new(threads: usize) -> Self {
        Self(Arc::new(Semaphore::new(threads.max(1))))
    }

    /// Does a check when its turn comes. One that is not waited for any more holds its thread until it is done.
    pub async fn run<T: Send + 'static>(&self, check: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let permit = self.0.clone().acquire_owned().await.map_err(Failure::internal)?;
        let checked = tokio::task::spawn_blocking(move || {
            let checked = check();
            drop(permit);
            checked
        });
        checked.await.map_err(Failure::internal)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_check_waits_for_those_before_it_even_for_one_that_was_given_up() {
        // as on a machine with one core
        let threads = Threads::new(0);
        let (finish, finished) = mpsc::channel::<()>();
        let first = threads.run(move || finished.recv().is_ok());
        let mut first = Box::pin(first);
        assert!(first.as_mut().now_or_never().is_none());
        drop(first);
        let mut second = Box::pin(threads.run(|| 2));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(threads.0.available_permits(), 0, "the first one holds its thread");
        finish.send(()).unwrap();
        assert_eq!(second.await.unwrap(), 2);
    }
}
