//! The HTTP API: tus, and downloads.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nepto_kit::Failure;
use nepto_kit::clock::from_ms;
use nepto_kit::http::{Asked, Routes, etag};
use nepto_proto::ErrorCode;
use nepto_proto::api::endpoint::Endpoint;
use nepto_proto::api::endpoints::media::{
    AppendToUpload, CreateUpload, DeleteMedia, DescribeUploads, EndUpload, GetContent, GetMediaAddress, GetUpload,
    MediaPath,
};
use nepto_proto::api::media::MediaAddress;
use time::format_description::well_known::Rfc2822;

use super::ops::Media;
use super::range::{Wanted, wanted};
use super::tus;
use super::uploads::Progress;

/// What a file is called that has its name in a message alone.
const ATTACHMENT: &str = "attachment; filename=\"file\"";
/// Whatever a file turns out to be in a browser, it may load nothing, run nothing and be part of no site.
const POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

pub fn routes(media: Media) -> Routes {
    let uploads = Routes::new().on_bytes(describe).on_bytes(create).on_bytes(progress).on_stream(append).on(end);
    let uploads = uploads.with_header(tus::RESUMABLE, HeaderValue::from_static(tus::VERSION));
    // whoever speaks another version has to learn which there are
    let uploads = uploads.with_header(tus::VERSIONS, HeaderValue::from_static(tus::VERSION));
    let files = Routes::new().on(address).on(delete).on_bytes(content);
    uploads.with_state(media.clone()).merge(files.with_state(media))
}

async fn describe(media: Media, _: Asked<DescribeUploads>) -> Result<Response, Failure> {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(tus::EXTENSION, HeaderValue::from_static(tus::EXTENSIONS));
    headers.insert(tus::CHECKSUM_ALGORITHM, HeaderValue::from_static(tus::ALGORITHM));
    headers.insert(tus::MAX_SIZE, media.config.file_bytes_max.into());
    Ok(response)
}

async fn create(media: Media, asked: Asked<CreateUpload>) -> Result<Response, Failure> {
    tus::check_version(&asked.headers)?;
    let (id, progress) = media.begin(asked.who.account, tus::length(&asked.headers)?).await?;
    let location = GetUpload::path(&MediaPath { media: id }).map_err(Failure::internal)?;
    let mut response = StatusCode::CREATED.into_response();
    response.headers_mut().insert(header::LOCATION, value(&location)?);
    told(response, &progress)
}

async fn progress(media: Media, asked: Asked<GetUpload>) -> Result<Response, Failure> {
    tus::check_version(&asked.headers)?;
    let progress = media.progress(asked.who.account, asked.path.media).await?;
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(tus::LENGTH, progress.length.into());
    told(response, &progress)
}

async fn append(media: Media, asked: Asked<AppendToUpload>, body: Body) -> Result<Response, Failure> {
    tus::check_version(&asked.headers)?;
    tus::check_type(&asked.headers)?;
    let (offset, checksum) = (tus::offset(&asked.headers)?, tus::checksum(&asked.headers)?);
    let progress = media.append(asked.who.account, asked.path.media, offset, checksum, body).await?;
    told(StatusCode::NO_CONTENT.into_response(), &progress)
}

async fn end(media: Media, asked: Asked<EndUpload>) -> Result<(), Failure> {
    tus::check_version(&asked.headers)?;
    media.end(asked.who.account, asked.path.media).await
}

async fn address(media: Media, asked: Asked<GetMediaAddress>) -> Result<MediaAddress, Failure> {
    media.address(asked.who.account, asked.path.media).await
}

async fn delete(media: Media, asked: Asked<DeleteMedia>) -> Result<(), Failure> {
    media.delete(asked.who.account, asked.path.media).await
}

/// With how far an upload is.
fn told(mut response: Response, progress: &Progress) -> Result<Response, Failure> {
    let headers = response.headers_mut();
    headers.insert(tus::OFFSET, progress.received.into());
    if let Some(expires_at_ms) = progress.expires_at_ms {
        let at = from_ms(expires_at_ms).format(&Rfc2822).map_err(Failure::internal)?;
        // of HTTP, whose zone is always this one (RFC 9110, 5.6.7)
        headers.insert(tus::EXPIRES, value(&at.replace("+0000", "GMT"))?);
    }
    Ok(response)
}

async fn content(media: Media, asked: Asked<GetContent>) -> Result<Response, Failure> {
    let file = media.addressed(asked.path.media, &asked.query).await?;
    let tag = format!("\"{}\"", file.digest);
    if etag::is_known(&asked.headers, &tag) {
        return shown(StatusCode::NOT_MODIFIED.into_response(), &tag);
    }
    let range = match part_of(&asked.headers, &tag, file.length) {
        Wanted::All => None,
        Wanted::Part(range) => Some(range),
        Wanted::Nothing => {
            let mut response = Failure::new(ErrorCode::RangeUnsatisfiable, "").into_response();
            response.headers_mut().insert(header::CONTENT_RANGE, value(&format!("bytes */{}", file.length))?);
            return shown(response, &tag);
        }
    };
    let (status, bytes) = match &range {
        None => (StatusCode::OK, 0..file.length),
        Some(range) => (StatusCode::PARTIAL_CONTENT, range.clone()),
    };
    let body = media.content(&file, bytes.clone(), &asked.who.0).await?;
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, (bytes.end - bytes.start).into());
    if range.is_some() {
        let told = format!("bytes {}-{}/{}", bytes.start, bytes.end - 1, file.length);
        headers.insert(header::CONTENT_RANGE, value(&told)?);
    }
    shown(response, &tag)
}

/// What is asked for, if it is asked for of this file (RFC 9110, 13.1.5).
fn part_of(headers: &HeaderMap, tag: &str, length: u64) -> Wanted {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match text(&header::IF_RANGE) {
        Some(of) if of != tag => Wanted::All,
        _ => wanted(text(&header::RANGE), length),
    }
}

/// With what keeps browsers from taking it for anything.
fn shown(mut response: Response, tag: &str) -> Result<Response, Failure> {
    let headers = response.headers_mut();
    headers.insert(header::ETAG, value(tag)?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(ATTACHMENT));
    // its address is good for minutes, and whoever had it
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(Failure::internal)
}
