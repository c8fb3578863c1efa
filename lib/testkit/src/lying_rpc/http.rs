//! HTTP, as much of it as JSON-RPC needs, with the means to break it off.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::liar::{Liar, Outcome};

const HEAD_BYTES_MAX: usize = 16 * 1024;
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const WEB_PAGE: &str = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n";

/// Serves a connection's requests one after the other, until a side closes it or a lie does.
pub(super) async fn serve(stream: TcpStream, liar: Arc<Liar>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(body) = request(&mut stream).await? {
        let Ok(request) = serde_json::from_slice::<Value>(&body) else {
            respond(&mut stream, 400, "", "the request is not JSON\n").await?;
            continue;
        };
        match liar.exchange(&request).await {
            Outcome::Body { status, retry_after_s, json } => {
                let retry = retry_after_s.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
                respond(&mut stream, status, &retry, &json.to_string()).await?;
            }
            Outcome::Garbage => respond(&mut stream, 200, "", WEB_PAGE).await?,
            Outcome::Close => return Ok(()),
            Outcome::CloseHalfway(json) => {
                let json = json.to_string();
                stream.write_all(head(200, "", json.len()).as_bytes()).await?;
                stream.write_all(&json.as_bytes()[..json.len() / 2]).await?;
                return Ok(stream.shutdown().await?);
            }
            Outcome::Hang => {
                // until the client has waited long enough
                stream.read_u8().await?;
            }
        }
    }
    Ok(())
}

/// The body of the next request; `None` at the end of the connection.
async fn request(stream: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>> {
    let mut length = None;
    let mut bytes = 0;
    loop {
        let mut line = String::new();
        let read = stream.read_line(&mut line).await?;
        bytes += read;
        ensure!(bytes <= HEAD_BYTES_MAX, "the head is too long");
        if read == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse::<usize>()?);
        }
    }
    let length = length.context("no length")?;
    ensure!(length <= BODY_BYTES_MAX, "the body is too long");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(body))
}

async fn respond(stream: &mut (impl AsyncWrite + Unpin), status: u16, more: &str, body: &str) -> Result<()> {
    let answer = head(status, more, body.len()) + body;
    Ok(stream.write_all(answer.as_bytes()).await?)
}

fn head(status: u16, more: &str, length: usize) -> String {
    format!("HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n")
}
