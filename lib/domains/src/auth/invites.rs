//! Invite codes: made by the operator, shown once, kept as hashes, used up with the account that they let in.

use alloy_primitives::hex;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use nepto_kit::Failure;
use nepto_kit::clock::from_ms;
use nepto_kit::http::{JsonBody, Path, Query};
use nepto_proto::ErrorCode;
use nepto_proto::api::operator::{
    INVITE_EXPIRES_AFTER_S_MAX, INVITE_USES_MAX, INVITES_AT_ONCE_MAX, Invites, MakeInvites, NewInvites,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::ops::Auth;
use super::store::shown_id;

/// Characters of a code, 5 bits each: nobody guesses one.
const LENGTH: usize = 20;
/// They are written in groups.
const GROUP: usize = 5;
/// Codes that work at one time.
const OPEN_MAX: usize = 20_000;
/// Invites of one answer.
const PAGE: i64 = 200;

/// A code as somebody gave it.
pub struct Code(String);

impl Code {
    /// Reads what people type: in either case, with or without hyphens. What can't be a code is `invite_invalid`.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let plain: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        if plain.len() != LENGTH || !plain.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let detail = format!("an invite code has {LENGTH} letters and digits");
            return Err(Failure::new(ErrorCode::InviteInvalid, detail));
        }
        Ok(Self(plain.to_ascii_lowercase()))
    }

    /// What is kept of it, hexadecimal.
    pub fn hash(&self) -> String {
        hex::encode(Sha256::new().chain_update("nepto invite v1 ").chain_update(&self.0).finalize())
    }
}

impl Auth {
    pub async fn make_invites(&self, request: MakeInvites) -> Result<NewInvites, Failure> {
        let MakeInvites { count, uses, expires_after_s } = request;
        for (name, value, max) in [
            ("count", u64::from(count), u64::from(INVITES_AT_ONCE_MAX)),
            ("uses", u64::from(uses), u64::from(INVITE_USES_MAX)),
            ("expires_after_s", expires_after_s, INVITE_EXPIRES_AFTER_S_MAX),
        ] {
            if !(1..=max).contains(&value) {
                return Err(Failure::new(ErrorCode::Malformed, format!("{name} must be 1 to {max}")));
            }
        }
        self.ctx.clock_check.refuse_if_wrong().await?;
        let now_ms = self.ctx.clock.now_ms();
        let expires_at_ms = now_ms + (expires_after_s * 1_000) as i64;
        let codes: Vec<Code> = (0..count).map(|_| Code(self.ctx.random.alphanumeric(LENGTH))).collect();
        let hashes: Vec<String> = codes.iter().map(Code::hash).collect();
        let ids = hashes.iter().map(|hash| shown_id(hash).to_owned()).collect();
        let made = self.store.add_invites(hashes, uses, now_ms, expires_at_ms, OPEN_MAX as i64).await?;
        if !made {
            let detail = format!("{OPEN_MAX} invites work already; drop some, or let them expire");
            return Err(Failure::new(ErrorCode::TooLarge, detail));
        }
        let grouped = |code: Code| {
            let groups: Vec<&str> = (0..LENGTH).step_by(GROUP).map(|at| &code.0[at..at + GROUP]).collect();
            groups.join("-")
        };
        Ok(NewInvites { codes: codes.into_iter().map(grouped).collect(), ids, expires_at: from_ms(expires_at_ms) })
    }

    /// Removes expired invites; a bounded number.
    pub async fn remove_expired_invites(&self) -> Result<usize, Failure> {
        const BATCH: i64 = 1_000;
        Ok(self.store.remove_expired_invites(self.ctx.clock.now_ms(), BATCH).await?)
    }
}

/// `/invites` of the operator's listener.
pub fn routes(auth: Auth) -> Router {
    Router::new().route("/invites", get(list).post(make)).route("/invites/{id}", delete(discard)).with_state(auth)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// The id that the page before ended with.
    #[serde(default)]
    after: String,
}

async fn list(State(auth): State<Auth>, Query(page): Query<Page>) -> Result<Json<Invites>, Failure> {
    let invites = auth.store.invites(&page.after, auth.ctx.clock.now_ms(), PAGE).await?;
    Ok(Json(Invites { invites }))
}

async fn make(State(auth): State<Auth>, JsonBody(request): JsonBody<MakeInvites>) -> Result<Json<NewInvites>, Failure> {
    auth.make_invites(request).await.map(Json)
}

async fn discard(State(auth): State<Auth>, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    match auth.store.drop_invite(&id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Failure::new(ErrorCode::NotFound, format!("there is no invite {id}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code = Code::read("abcde-fghjk-mnpqr-stuvw").unwrap();
        assert_eq!(Code::read(" ABCDEFGHJKMNPQRSTUVW ").unwrap().hash(), code.hash());
        assert_eq!(code.hash().len(), 64);
        for bad in ["", "abcde", "abcde-fghjk-mnpqr-stuvwx", "abcde-fghjk-mnpqr-stuv!"] {
            assert_eq!(Code::read(bad).err().unwrap().code, ErrorCode::InviteInvalid, "{bad}");
        }
    }
}
