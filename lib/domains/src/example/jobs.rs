//! Background jobs: a job is a name, an interval, a timeout, and what it does.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Board;

pub fn jobs(board: &Board) -> Vec<Job> {
    let board = board.clone();
    vec![Job::every("example-note-expiry", Duration::from_secs(1)).within(Duration::from_secs(10)).run(move |_| {
        let board = board.clone();
        async move { Ok(format!("{} notes deleted", board.delete_old().await?)) }
    })]
}
