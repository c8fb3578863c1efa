//! The HTTP API.

use axum::extract::State;
use axum::http::StatusCode;
use nepto_kit::Failure;
use nepto_kit::http::{Caller, JsonBody};
use nepto_proto::api::Problem;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops::Board;

pub fn routes(board: Board) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(make_note)).with_state(board)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MakeNote {
    /// What it says
    text: String,
}

/// Makes a note, which everybody hears who follows the board
#[utoipa::path(post, path = "/v1/example/notes", tag = "example", request_body = MakeNote,
    responses((status = 204), (status = "default", body = Problem)))]
async fn make_note(
    State(board): State<Board>,
    _caller: Caller,
    JsonBody(note): JsonBody<MakeNote>,
) -> Result<StatusCode, Failure> {
    board.make_note(note.text).await?;
    Ok(StatusCode::NO_CONTENT)
}
