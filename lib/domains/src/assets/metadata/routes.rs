//! The HTTP API of what is said about tokens.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nepto_kit::Failure;
use nepto_kit::http::{Caller, Path, Query};
use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use nepto_proto::api::assets::{HeldTokens, Token};
use serde::Deserialize;
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Metadata;
use super::cache::Cached;
use super::contract::TokenKey;
use super::page::Mark;
use crate::assets::request::{address, page_of, token_id};
use crate::parameters::{self, TokenPath};

/// Bytes of an image that wait for a client's connection.
const CHUNK_BYTES: usize = 64 * 1024;
/// Clients keep an image for an hour, and ask after it then.
const KEEP: &str = "private, max-age=3600";
/// Whatever an image turns out to be in a browser, it may load nothing, run nothing and be part of no site.
const POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

pub fn routes(metadata: Metadata) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(mine))
        .routes(routes!(token))
        .routes(routes!(refresh))
        .routes(routes!(image))
        .with_state(metadata)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Page {
    /// `next` of the page before
    #[param(value_type = parameters::TokenMark, required = false, inline)]
    after: Option<String>,
    /// Tokens of a page, 50 without it, 200 at the most
    #[param(value_type = parameters::Limit, required = false, inline)]
    limit: Option<usize>,
}

/// The tokens that the wallets of the own account hold, with what is said about them
#[utoipa::path(get, path = "/v1/assets/mine/tokens", tag = "assets", params(Page),
    responses((status = 200, body = HeldTokens), (status = "default", body = Problem)))]
async fn mine(
    State(metadata): State<Metadata>,
    Caller(claims): Caller,
    Query(page): Query<Page>,
) -> Result<Json<HeldTokens>, Failure> {
    let malformed = |detail: &str| Failure::new(ErrorCode::Malformed, detail);
    let limit = page_of(page.limit)?;
    let after = page.after.as_deref().map(|after| Mark::parse(after).ok_or(after)).transpose();
    let after = after.map_err(|_| malformed("`after` is the `next` of another page"))?;
    metadata.of_account(claims.account, after.as_ref(), limit).await.map(Json)
}

fn key((chain, contract, token): (u64, String, String)) -> Result<TokenKey, Failure> {
    Ok(TokenKey { chain, contract: address(&contract)?, token: token_id(&token)? })
}

/// A token, and what is said about it
#[utoipa::path(get, path = "/v1/assets/{chain_id}/contracts/{contract}/tokens/{token}", tag = "assets",
    params(TokenPath),
    responses((status = 200, body = Token), (status = "default", body = Problem)))]
async fn token(
    State(metadata): State<Metadata>,
    Caller(claims): Caller,
    Path(path): Path<(u64, String, String)>,
) -> Result<Json<Token>, Failure> {
    metadata.of_named(claims.account, &key(path)?).await.map(Json)
}

/// Finds out anew what is said about a token; answers what is known until then
#[utoipa::path(post, path = "/v1/assets/{chain_id}/contracts/{contract}/tokens/{token}/refresh", tag = "assets",
    params(TokenPath),
    responses((status = 202, body = Token), (status = "default", body = Problem)))]
async fn refresh(
    State(metadata): State<Metadata>,
    Caller(claims): Caller,
    Path(path): Path<(u64, String, String)>,
) -> Result<(StatusCode, Json<Token>), Failure> {
    let token = metadata.refresh(claims.account, &key(path)?).await?;
    Ok((StatusCode::ACCEPTED, Json(token)))
}

/// The image of a token: PNG, JPEG, GIF, WebP or AVIF
#[utoipa::path(get, path = "/v1/assets/{chain_id}/contracts/{contract}/tokens/{token}/image", tag = "assets",
    params(TokenPath),
    responses((status = 200, description = "The image", content_type = "image/*"),
        (status = 304, description = "The one that the client has"), (status = "default", body = Problem)))]
async fn image(
    State(metadata): State<Metadata>,
    Caller(claims): Caller,
    Path(path): Path<(u64, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let key = key(path)?;
    let cached = metadata.image(claims.account, &key).await?;
    response(&key, &headers, cached)
}

fn response(key: &TokenKey, asked: &HeaderMap, image: Cached) -> Result<Response, Failure> {
    let etag = format!("\"{}\"", image.digest);
    let has_it = asked.get_all(header::IF_NONE_MATCH).iter().any(|tags| {
        let mut tags = tags.to_str().unwrap_or_default().split(',');
        tags.any(|tag| matches!(tag.trim().trim_start_matches("W/"), tag if tag == etag || tag == "*"))
    });
    let name = format!("attachment; filename=\"{}.{}\"", key.token, image.kind.extension());
    let mut response = match has_it {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(image.file), CHUNK_BYTES);
            let mut response = Body::from_stream(chunks).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(image.kind.media_type()));
            headers.insert(header::CONTENT_LENGTH, image.bytes.into());
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag.parse().map_err(|error| Failure::internal(anyhow::Error::new(error)))?);
    headers.insert(
        header::CONTENT_DISPOSITION,
        name.parse().map_err(|error| Failure::internal(anyhow::Error::new(error)))?,
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(KEEP));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}
