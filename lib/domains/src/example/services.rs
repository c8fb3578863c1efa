//! What other domains ask.

use nepto_kit::service::Service;

use super::CountNotes;
use super::ops::Board;

pub fn services(board: &Board) -> Vec<Service> {
    let board = board.clone();
    vec![Service::new(move |_: CountNotes| {
        let board = board.clone();
        async move { board.count().await }
    })]
}
