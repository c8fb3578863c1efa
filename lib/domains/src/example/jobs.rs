//! Background jobs.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Board;

pub fn jobs(board: &Board) -> Vec<Job> {
    let board = board.clone();
    vec![Job::new("example-note-expiry", Duration::from_secs(1), Duration::from_secs(10), move || {
        let board = board.clone();
        async move { Ok(format!("{} notes deleted", board.delete_old().await?)) }
    })]
}
