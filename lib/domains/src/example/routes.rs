//! The HTTP API. An endpoint of a real domain is declared in `nepto_proto`.

use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ops::Board;

pub fn routes(board: Board) -> Routes {
    Routes::new().on(make_note).with_state(board)
}

/// A note to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNote {
    /// What it says.
    text: String,
}

nepto_proto::endpoints! {
    "example"

    /// Makes a note, which everybody hears who follows the board.
    Post "/v1/example/notes" => MakeNote {
        body: NewNote,
        codes: [],
    }
}

async fn make_note(board: Board, asked: Asked<MakeNote>) -> Result<(), Failure> {
    board.make_note(asked.body.text).await
}
