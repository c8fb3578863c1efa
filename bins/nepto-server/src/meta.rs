//! Routes that belong to no domain: what a client must know before it signs in, and the description of the API.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nepto_domains::auth::sign_up_needs;
use nepto_kit::http::{Asked, Description, Routes, etag};
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::ServerInfo;
use nepto_proto::api::endpoints::TAGS;
use nepto_proto::api::endpoints::meta::GetInfo;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, SecurityRequirement};

/// The routes of these domains, those of this module, and the description of them all, which is made when somebody asks for it.
pub fn with_description(ctx: &Ctx, domains: Vec<Routes>) -> Router {
    let own = Routes::new().on(info).with_state(ctx.clone());
    let (router, endpoints) = domains.into_iter().fold(own, Routes::merge).into_parts();
    let described = Arc::new(Described { endpoints, document: OnceLock::new() });
    router.route(
        "/v1/openapi.json",
        axum::routing::get(move |headers: HeaderMap| async move {
            let document = described.document().map_err(Failure::internal)?;
            Ok::<_, Failure>(document.answer(&headers))
        }),
    )
}

/// The whole API, and its description once somebody has asked for it.
struct Described {
    endpoints: Description,
    document: OnceLock<Document>,
}

impl Described {
    fn document(&self) -> anyhow::Result<&Document> {
        if let Some(document) = self.document.get() {
            return Ok(document);
        }
        let tags = TAGS.iter().map(|(name, about)| TagBuilder::new().name(*name).description(Some(*about)).build());
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let security = ComponentsBuilder::new().security_scheme("access_token", SecurityScheme::Http(token)).build();
        let mut description = OpenApiBuilder::new()
            .info(
                InfoBuilder::new()
                    .title("Nepto")
                    .version(env!("CARGO_PKG_VERSION"))
                    .description(Some(ABOUT))
                    .license(Some(LicenseBuilder::new().name("AGPL-3.0-only").build())),
            )
            .tags(Some(tags))
            .components(Some(security))
            .security(Some([SecurityRequirement::new::<_, [&str; 0], &str>("access_token", [])]))
            .build();
        description.merge(self.endpoints.openapi());
        let document = Document::new(serde_json::to_vec(&description)?)?;
        Ok(self.document.get_or_init(|| document))
    }
}

/// What is true of the whole API.
const ABOUT: &str = "Wallet sign-in, devices and prekeys, contacts, and what is held on chains. Messages travel over `/v1/socket`. \
    Whatever goes wrong is answered with a problem (RFC 9457) whose `code` is stable; each operation lists the codes that it may \
    answer with. `docs/PROTOCOL.md` of the repository says how the operations belong together.";

/// Bytes that are made once, and their name: whoever knows it is spared them (RFC 9110, 8.8.3).
struct Document {
    bytes: Bytes,
    tag: HeaderValue,
}

impl Document {
    fn new(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let tag = HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish()))?;
        Ok(Self { bytes: bytes.into(), tag })
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let tagged = [(header::ETAG, self.tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if etag::is_known(headers, self.tag.to_str().unwrap_or_default()) {
            return (StatusCode::NOT_MODIFIED, tagged).into_response();
        }
        let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (tagged, json, self.bytes.clone()).into_response()
    }
}

async fn info(ctx: Ctx, _: Asked<GetInfo>) -> Result<ServerInfo, Failure> {
    let public = &ctx.config.public;
    Ok(ServerInfo {
        domain: public.domain.clone(),
        uri: public.uri.clone(),
        chains: public.chains.clone(),
        sockets: public.sockets.clone(),
        server_time_ms: ctx.clock.now_ms().unsigned_abs(),
        sign_up: sign_up_needs(&ctx.config),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_the_document_is_spared_it() {
        let document = Document::new(b"{}".to_vec()).unwrap();
        let answer = |known: Option<&str>| {
            let headers = known.map(|known| (header::IF_NONE_MATCH, HeaderValue::from_str(known).unwrap()));
            document.answer(&headers.into_iter().collect())
        };
        let first = answer(None);
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        for known in [tag, &format!("\"x\", W/{tag}"), "*"] {
            assert_eq!(answer(Some(known)).status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        assert_eq!(answer(Some("\"x\"")).status(), StatusCode::OK);
        let other = Document::new(b"[]".to_vec()).unwrap();
        assert_ne!(other.tag, document.tag);
    }
}
