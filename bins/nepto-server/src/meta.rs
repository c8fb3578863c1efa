//! Routes that belong to no domain: what a client must know before it signs in, and the description of the API.

use axum::extract::State;
use axum::{Json, Router};
use nepto_domains::auth::sign_up_needs;
use nepto_kit::Ctx;
use nepto_proto::api::ServerInfo;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of all domains, those of this module, and the description of them all.
pub fn with_description(ctx: &Ctx, domains: Vec<OpenApiRouter>) -> Router {
    let description = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Nepto")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some("Wallet sign-in, devices and prekeys, contacts. Messages travel over `/v1/socket`."))
                .license(Some(LicenseBuilder::new().name("AGPL-3.0-only").build())),
        )
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme(
                    "access_token",
                    SecurityScheme::Http(
                        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build(),
                    ),
                )
                .build(),
        ))
        .security(Some([SecurityRequirement::new::<_, [&str; 0], &str>("access_token", [])]))
        .build();
    let router = domains
        .into_iter()
        .fold(OpenApiRouter::with_openapi(description), OpenApiRouter::merge)
        .merge(OpenApiRouter::new().routes(routes!(info)).with_state(ctx.clone()));
    let (router, description) = router.split_for_parts();
    router.route("/v1/openapi.json", axum::routing::get(move || async move { Json(description) }))
}

/// What a client needs to know of this server before it signs in
#[utoipa::path(get, path = "/v1/info", tag = "meta", security(()), responses((status = 200, body = ServerInfo)))]
async fn info(State(ctx): State<Ctx>) -> Json<ServerInfo> {
    let public = &ctx.config.public;
    Json(ServerInfo {
        domain: public.domain.clone(),
        uri: public.uri.clone(),
        chains: public.chains.clone(),
        sockets: public.sockets.clone(),
        server_time_ms: ctx.clock.now_ms().unsigned_abs(),
        sign_up: sign_up_needs(&ctx.config.sign_up),
    })
}
