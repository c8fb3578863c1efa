//! Rows of an outbox that can't be read: any turns `/readyz` red, and the log names each, but not at every look.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use surrealdb::types::ToSql;
use tokio::time::Instant;

use crate::db::{self, RecordId};
use crate::health::Health;

/// Rows that stay are named again after this; a relay looks twice a second.
const NAME_EVERY: Duration = Duration::from_secs(60);

/// What one relay passes over.
pub struct Unreadable {
    /// Of the last whole look, for `/readyz`.
    reported: Arc<AtomicUsize>,
    /// Of this look.
    found: usize,
    named_at: Option<Instant>,
    /// Whether this look names what it finds.
    names: bool,
}

impl Unreadable {
    /// Adds the check of a domain's outbox.
    pub fn register(health: &Health, domain: &str) -> Self {
        let reported = Arc::new(AtomicUsize::new(0));
        let checked = reported.clone();
        health.register(format!("events of {domain}"), move || {
            std::future::ready(match checked.load(Ordering::Relaxed) {
                0 => Ok(()),
                some => Err(format!("{some} rows of its outbox can't be read; the log names them")),
            })
        });
        Self { reported, found: 0, named_at: None, names: false }
    }

    /// All rows are looked at, from the first one on.
    pub fn begin_look(&mut self) {
        self.found = 0;
        self.names = self.named_at.is_none_or(|at| at.elapsed() >= NAME_EVERY);
    }

    /// A row can't be read.
    pub fn found(&mut self, row: &RecordId, problem: &str) {
        self.found += 1;
        if self.names {
            self.named_at = Some(Instant::now());
            db::name_unreadable(&row.to_sql(), problem);
        }
    }

    /// All rows were looked at; how many can't be read.
    pub fn end_look(&self) -> usize {
        self.reported.store(self.found, Ordering::Relaxed);
        self.found
    }

    /// There are no rows.
    pub fn none(&self) {
        self.reported.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Logged;

    #[tokio::test(start_paused = true)]
    async fn each_row_is_named_once_a_minute_however_often_it_is_looked_at() {
        let health = Health::default();
        let mut unreadable = Unreadable::register(&health, "auth");
        let is_well = async || health.ask_all().await.ready;
        let logged = Logged::from_now_on();
        let mut look = |rows: &[&str]| {
            unreadable.begin_look();
            for row in rows {
                unreadable.found(&RecordId::new("outbox", *row), "no text");
            }
            unreadable.end_look()
        };
        let named = |row: &str| logged.with(&format!("outbox:{row}")).len();
        for _ in 0..119 {
            assert_eq!(look(&["a", "b"]), 2);
            assert!(!is_well().await);
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        assert_eq!((named("a"), named("b")), (1, 1));
        // one was mended and another one came, which is named within the minute
        assert_eq!(look(&["b", "c"]), 2);
        assert_eq!((named("b"), named("c")), (1, 0));
        tokio::time::advance(Duration::from_millis(500)).await;
        look(&["b", "c"]);
        assert_eq!((named("a"), named("b"), named("c")), (1, 2, 1));
        assert_eq!(look(&[]), 0);
        assert!(is_well().await);
    }
}
