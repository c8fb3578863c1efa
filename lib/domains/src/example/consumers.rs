//! What this domain does about events.

use nepto_kit::consumer::Consumer;

use super::NoteMade;
use super::ops::Board;

pub const QUEUES: &[&str] = &["example-note-made"];

pub fn consumers(board: &Board) -> Vec<Consumer> {
    let board = board.clone();
    vec![Consumer::of_event("example-note-made", move |made: NoteMade| {
        let board = board.clone();
        async move { board.publish(made).await }
    })]
}
