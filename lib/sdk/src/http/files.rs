//! Files: uploads by tus 1.0.0 (tus.io), and downloads by a signed address. Nothing here encrypts: see
//! [`Client::upload`](crate::Client::upload).

use std::time::Duration;

use nepto_proto::api::endpoint::{Endpoint, NoParameters};
use nepto_proto::api::endpoints::media::{
    AppendToUpload, CreateUpload, DeleteMedia, EndUpload, GetMediaAddress, GetUpload, MediaPath,
};
use nepto_proto::api::media::MediaAddress;
use nepto_proto::{ErrorCode, MediaId};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use sha2::{Digest, Sha256};

use super::{Http, needs_refresh};
use crate::SdkError;

/// A piece of a file has so long.
const PIECE_TIMEOUT: Duration = Duration::from_secs(120);
/// A download, or what is left of it, has so long. It goes on with another one.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// An answer that says why not.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

const NONE: &NoParameters = &NoParameters {};

impl Http {
    /// Begins an upload of so many bytes. What is uploaded has the id of the upload.
    pub async fn begin_upload(&self, bytes: u64) -> Result<MediaId, SdkError> {
        let path = CreateUpload::path(NONE)?;
        let answer = self.tus::<CreateUpload>(&path, |request| request.header("upload-length", bytes)).await?;
        let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let id = location.and_then(|location| location.rsplit('/').next()?.parse().ok());
        id.ok_or_else(|| self.unexpected(answer.status()))
    }

    /// How many bytes of an upload have arrived.
    pub async fn upload_offset(&self, media: MediaId) -> Result<u64, SdkError> {
        let path = GetUpload::path(&MediaPath { media })?;
        let answer = self.tus::<GetUpload>(&path, |request| request).await?;
        self.offset_of(&answer)
    }

    /// Appends bytes to an upload; how many have arrived then. If the answer is lost, ask [`Http::upload_offset`].
    pub async fn append_to_upload(&self, media: MediaId, offset: u64, bytes: &[u8]) -> Result<u64, SdkError> {
        let path = AppendToUpload::path(&MediaPath { media })?;
        let checksum = format!("sha256 {}", base64(&Sha256::digest(bytes)));
        let appended = self.tus::<AppendToUpload>(&path, |request| {
            request
                .header(header::CONTENT_TYPE, "application/offset+octet-stream")
                .header("upload-offset", offset)
                .header("upload-checksum", &checksum)
                .body(bytes.to_vec())
        });
        self.offset_of(&appended.await?)
    }

    /// Ends an upload: nothing of it stays.
    pub async fn end_upload(&self, media: MediaId) -> Result<(), SdkError> {
        let path = EndUpload::path(&MediaPath { media })?;
        self.tus::<EndUpload>(&path, |request| request).await.map(drop)
    }

    /// An address from which a file can be downloaded for some minutes.
    pub async fn media_address(&self, media: MediaId) -> Result<MediaAddress, SdkError> {
        self.call::<GetMediaAddress>(&MediaPath { media }, NONE, &()).await
    }

    /// Deletes an own file.
    pub async fn delete_media(&self, media: MediaId) -> Result<(), SdkError> {
        self.call::<DeleteMedia>(&MediaPath { media }, NONE, &()).await
    }

    /// The bytes at such an address, from one of them on; nothing but them.
    pub(crate) async fn content(&self, address: &MediaAddress, from: u64) -> Result<Response, SdkError> {
        let (path, query) = address.address.split_once('?').unwrap_or((&address.address, ""));
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(Some(query));
        let mut request = self.client.get(url).timeout(DOWNLOAD_TIMEOUT);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let answer = self.answered(request).await?;
        let wanted = if from > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if answer.status() == wanted { Ok(answer) } else { Err(self.unexpected(answer.status())) }
    }

    /// The next bytes of an answer; `None` at its end.
    pub(crate) async fn next_bytes(&self, answer: &mut Response) -> Result<Option<Vec<u8>>, SdkError> {
        let bytes = answer.chunk().await.map_err(|error| self.network(error))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }

    /// Asks an endpoint of tus, once more if the token has to be refreshed.
    async fn tus<E: Endpoint>(
        &self,
        path: &str,
        say: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, SdkError> {
        let token = self.access_token().await?;
        match self.tus_once::<E>(path, &say, &token).await {
            Err(error) if needs_refresh(&error) => {
                let token = self.refreshed_token(&token).await?;
                self.tus_once::<E>(path, &say, &token).await
            }
            answered => answered,
        }
    }

    async fn tus_once<E: Endpoint>(
        &self,
        path: &str,
        say: &impl Fn(RequestBuilder) -> RequestBuilder,
        token: &str,
    ) -> Result<Response, SdkError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let method = reqwest::Method::from_bytes(E::METHOD.as_str().as_bytes());
        let method = method.map_err(|_| SdkError::Internal("a request could not be written"))?;
        let request = self.client.request(method, url).timeout(PIECE_TIMEOUT).bearer_auth(token);
        self.answered(say(request.header("tus-resumable", "1.0.0"))).await
    }

    /// An answer that is no problem.
    async fn answered(&self, request: RequestBuilder) -> Result<Response, SdkError> {
        let request = request.header("x-request-id", self.env.uuid().to_string());
        let mut answer = request.send().await.map_err(|error| self.network(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut problem = Vec::new();
        while let Some(bytes) = answer.chunk().await.map_err(|error| self.network(error))? {
            problem.extend_from_slice(&bytes);
            if problem.len() > PROBLEM_BYTES_MAX {
                return Err(self.unexpected(status));
            }
        }
        // what is asked by HEAD is answered without words
        if problem.is_empty() && status == StatusCode::NOT_FOUND {
            return Err(SdkError::server(ErrorCode::NotFound, ErrorCode::NotFound.title()));
        }
        if problem.is_empty() && status == StatusCode::UNAUTHORIZED {
            return Err(SdkError::server(ErrorCode::TokenInvalid, ErrorCode::TokenInvalid.title()));
        }
        Err(self.problem(status, &problem, retry_after.map(Duration::from_secs)))
    }

    fn offset_of(&self, answer: &Response) -> Result<u64, SdkError> {
        let offset = answer.headers().get("upload-offset").and_then(|offset| offset.to_str().ok()?.parse().ok());
        offset.ok_or_else(|| self.unexpected(answer.status()))
    }
}

/// With padding, as tus wants it.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
