//! The HTTP API of what is said about tokens.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes, etag};
use nepto_proto::ErrorCode;
use nepto_proto::api::assets::{HeldTokens, Token};
use nepto_proto::api::endpoints::assets::{GetToken, GetTokenImage, ListOwnTokens, RefreshMetadata, TokenPath};
use tokio_util::io::ReaderStream;

use super::Metadata;
use super::cache::Cached;
use super::contract::TokenKey;
use super::page::Mark;
use crate::request::{address, page_of, token_id};

/// Bytes of an image that wait for a client's connection.
const CHUNK_BYTES: usize = 64 * 1024;
/// Clients keep an image for an hour, and ask after it then.
const KEEP: &str = "private, max-age=3600";
/// Whatever an image turns out to be in a browser, it may load nothing, run nothing and be part of no site.
const POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

pub fn routes(metadata: Metadata) -> Routes {
    Routes::new().on(mine).on(token).on(refresh).on_bytes(image).with_state(metadata)
}

async fn mine(metadata: Metadata, asked: Asked<ListOwnTokens>) -> Result<HeldTokens, Failure> {
    let limit = page_of(asked.query.limit)?;
    let after = asked.query.after.as_deref().map(|after| Mark::parse(after).ok_or(after)).transpose();
    let after = after.map_err(|_| Failure::new(ErrorCode::Malformed, "`after` is the `next` of another page"))?;
    metadata.of_account(asked.who.account, after.as_ref(), limit).await
}

fn key(path: &TokenPath) -> Result<TokenKey, Failure> {
    Ok(TokenKey { chain: path.chain_id, contract: address(&path.contract)?, token: token_id(&path.token)? })
}

async fn token(metadata: Metadata, asked: Asked<GetToken>) -> Result<Token, Failure> {
    metadata.of_named(asked.who.account, &key(&asked.path)?).await
}

async fn refresh(metadata: Metadata, asked: Asked<RefreshMetadata>) -> Result<Token, Failure> {
    metadata.refresh(asked.who.account, &key(&asked.path)?).await
}

async fn image(metadata: Metadata, asked: Asked<GetTokenImage>) -> Result<Response, Failure> {
    let key = key(&asked.path)?;
    let cached = metadata.image(asked.who.account, &key).await?;
    response(&key, &asked.headers, cached)
}

fn response(key: &TokenKey, asked: &HeaderMap, image: Cached) -> Result<Response, Failure> {
    let tag = format!("\"{}\"", image.digest);
    let name = format!("attachment; filename=\"{}.{}\"", key.token, image.kind.extension());
    let mut response = match etag::is_known(asked, &tag) {
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
    headers.insert(header::ETAG, tag.parse().map_err(|error| Failure::internal(anyhow::Error::new(error)))?);
    headers.insert(
        header::CONTENT_DISPOSITION,
        name.parse().map_err(|error| Failure::internal(anyhow::Error::new(error)))?,
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(KEEP));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}
