//! Endpoints with the code that answers them. The route and its description are made from the endpoint's declaration
//! ([`nepto_proto::api::endpoint`]), and the handler's types are those of the declaration.
//!
//! An answer with a code that the endpoint does not declare is written to the log. With `NEPTO_REFUSE_UNDECLARED` in the
//! environment, as in tests, it is refused: so the lists stay true.

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::extract::{FromRef, FromRequest, FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use axum::{Json, Router};
use nepto_proto::ErrorCode;
use nepto_proto::api::endpoint::{Anybody, Asker, Endpoint, Media, Method, PathParameters, SignedIn};
use nepto_proto::limits::HTTP_BODY_BYTES_MAX;
use serde::de::DeserializeOwned;
use tower_http::set_header::SetResponseHeaderLayer;

use super::description::Description;
use super::{Caller, ClientAddress, JsonBody, Query};
use crate::Failure;
use crate::token::Claims;

static REFUSES_UNDECLARED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("NEPTO_REFUSE_UNDECLARED").is_some());

/// A request to an endpoint, read as the endpoint declares it.
pub struct Asked<E: Endpoint<Asker: Admit>> {
    /// Who asks.
    pub who: <E::Asker as Admit>::Who,
    /// What stands in the path.
    pub path: E::Path,
    /// What stands behind the path.
    pub query: E::Query,
    /// The body, if it is JSON.
    pub body: E::Body,
    /// The body, if the endpoint reads it itself.
    pub bytes: Bytes,
    /// Whatever else the request says.
    pub headers: HeaderMap,
}

/// How it is found out who asks.
pub trait Admit: Asker {
    /// What is known of who asks.
    type Who: Send;
    /// Lets the request in, or says why not.
    fn admit(parts: &mut Parts) -> impl Future<Output = Result<Self::Who, Failure>> + Send;
}

impl Admit for SignedIn {
    type Who = Claims;
    async fn admit(parts: &mut Parts) -> Result<Claims, Failure> {
        Caller::from_request_parts(parts, &()).await.map(|Caller(claims)| claims)
    }
}

impl Admit for Anybody {
    type Who = ClientAddress;
    async fn admit(parts: &mut Parts) -> Result<ClientAddress, Failure> {
        match ClientAddress::from_request_parts(parts, &()).await {
            Ok(address) => Ok(address),
            Err(never) => match never {},
        }
    }
}

impl<E: Endpoint<Asker: Admit>> Asked<E> {
    /// Who asks comes first: strangers do not learn what they said wrong. Beside it is the body of an endpoint that streams.
    async fn read(request: Request) -> Result<(Self, Body), Failure> {
        let (mut parts, body) = request.into_parts();
        let who = E::Asker::admit(&mut parts).await?;
        let malformed = |detail: String| Failure::new(ErrorCode::Malformed, detail);
        let given = RawPathParams::from_request_parts(&mut parts, &()).await;
        let given = given.map_err(|rejection| malformed(rejection.body_text()))?;
        let path = E::Path::read(|name| given.iter().find(|(known, _)| *known == name).map(|(_, value)| value));
        let path = path.map_err(malformed)?;
        let Query(query) = Query::from_request_parts(&mut parts, &()).await?;
        let headers = parts.headers.clone();
        let request = Request::from_parts(parts, body);
        let (body, bytes, stream) = match E::TAKES {
            Media::Nothing => (nothing()?, Bytes::new(), Body::empty()),
            Media::Json => (JsonBody::from_request(request, &()).await?.0, Bytes::new(), Body::empty()),
            Media::Bytes(_) => (nothing()?, read_bytes(request).await?, Body::empty()),
            Media::Stream(_) => (nothing()?, Bytes::new(), request.into_body()),
        };
        Ok((Self { who, path, query, body, bytes, headers }, stream))
    }
}

/// The value of a type that has only one.
fn nothing<T: DeserializeOwned>() -> Result<T, Failure> {
    serde_json::from_str("null").map_err(Failure::internal)
}

async fn read_bytes(request: Request) -> Result<Bytes, Failure> {
    let bytes = Bytes::from_request(request, &()).await;
    bytes.map_err(|_| Failure::new(ErrorCode::TooLarge, format!("at most {HTTP_BODY_BYTES_MAX} bytes")))
}

/// Some endpoints with what answers them, and their description. `S` is the state that they still lack.
pub struct Routes<S = ()> {
    router: Router<S>,
    description: Description,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self { router: Router::new(), description: Description::default() }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers an endpoint with this function.
    pub fn on<E, T, F>(self, answer: impl Fn(T, Asked<E>) -> F + Clone + Send + Sync + 'static) -> Self
    where
        E: Endpoint<Asker: Admit>,
        T: FromRef<S> + Send + 'static,
        F: Future<Output = Result<E::Reply, Failure>> + Send,
    {
        let answer = move |state: T, asked: Asked<E>, _: Body| answer(state, asked);
        self.mount(answer, |reply: E::Reply| {
            let status = StatusCode::from_u16(E::STATUS).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            match E::GIVES {
                Media::Json => (status, Json(reply)).into_response(),
                Media::Nothing | Media::Bytes(_) | Media::Stream(_) => status.into_response(),
            }
        })
    }

    /// The same with a function that writes the response itself.
    pub fn on_bytes<E, T, F>(self, answer: impl Fn(T, Asked<E>) -> F + Clone + Send + Sync + 'static) -> Self
    where
        E: Endpoint<Asker: Admit>,
        T: FromRef<S> + Send + 'static,
        F: Future<Output = Result<Response, Failure>> + Send,
    {
        self.mount(move |state: T, asked: Asked<E>, _: Body| answer(state, asked), std::convert::identity)
    }

    /// The same with a function that takes the body as it comes. It comes at a pace, or fails; an endpoint that does not stream
    /// gets an empty one.
    pub fn on_stream<E, T, F>(self, answer: impl Fn(T, Asked<E>, Body) -> F + Clone + Send + Sync + 'static) -> Self
    where
        E: Endpoint<Asker: Admit>,
        T: FromRef<S> + Send + 'static,
        F: Future<Output = Result<Response, Failure>> + Send,
    {
        self.mount(answer, std::convert::identity)
    }

    /// With a header in every answer, refusals too, that does not have it yet.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.router = self.router.route_layer(SetResponseHeaderLayer::if_not_present(name, value));
        self
    }

    fn mount<E, T, F, R>(
        mut self,
        answer: impl Fn(T, Asked<E>, Body) -> F + Clone + Send + Sync + 'static,
        write: fn(R) -> Response,
    ) -> Self
    where
        E: Endpoint<Asker: Admit>,
        T: FromRef<S> + Send + 'static,
        F: Future<Output = Result<R, Failure>> + Send,
        R: Send + 'static,
    {
        let handler = move |State(state): State<S>, request: Request| {
            let (answer, state) = (answer.clone(), T::from_ref(&state));
            async move {
                let answered = match Asked::<E>::read(request).await {
                    Ok((asked, body)) => answer(state, asked, body).await,
                    Err(failure) => Err(failure),
                };
                match answered {
                    Ok(reply) => write(reply),
                    Err(failure) => declared::<E>(failure, *REFUSES_UNDECLARED).into_response(),
                }
            }
        };
        self.router = self.router.route(E::PATH, on(filter(E::METHOD), handler));
        self.description.add::<E>();
        self
    }

    /// With the state that they lacked.
    pub fn with_state(self, state: S) -> Routes {
        Routes { router: self.router.with_state(state), description: self.description }
    }
}

impl Routes {
    /// These and others.
    pub fn merge(mut self, others: Self) -> Self {
        self.router = self.router.merge(others.router);
        self.description.merge(others.description);
        self
    }

    /// What answers, and the description of it, to be completed with what is true of the whole API.
    pub fn into_parts(self) -> (Router, Description) {
        (self.router, self.description)
    }
}

const fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
        Method::Head => MethodFilter::HEAD,
        Method::Options => MethodFilter::OPTIONS,
    }
}

/// A failure that the endpoint declares.
fn declared<E: Endpoint>(failure: Failure, refuses_others: bool) -> Failure {
    if E::may_answer(failure.code) {
        return failure;
    }
    let undeclared = format!("{} answers {failure}, which it does not declare", E::NAME);
    match refuses_others {
        true => Failure::internal(anyhow::anyhow!(undeclared)),
        false => {
            tracing::error!("{undeclared}");
            failure
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::http::Request;
    use nepto_proto::api::assets::HintsNoted;
    use nepto_proto::api::auth::{Nonce, Tokens};
    use nepto_proto::api::endpoints::accounts::GetOwnAccount;
    use nepto_proto::api::endpoints::auth::{MakeNonce, RefreshTokens, SignOut};
    use nepto_proto::api::endpoints::hooks::DeliverAlchemy;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;

    /// What these routes answer to a request.
    async fn ask(routes: Routes, request: (&str, &str), headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut asked = Request::builder().method(request.0).uri(request.1);
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        let asked = asked.body(Body::from(body.to_owned())).unwrap();
        let answer = routes.into_parts().0.oneshot(asked).await.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn a_handler_gets_what_the_endpoint_declares() {
        let hook = |(): (), asked: Asked<DeliverAlchemy>| async move {
            let signed = asked.headers.contains_key("x-alchemy-signature");
            assert!(signed && asked.path.id == "a b", "{}", asked.path.id);
            Ok(HintsNoted { noted: asked.bytes.len() as u64 })
        };
        let routes = Routes::new().on(hook).with_state(());
        let answer =
            ask(routes, ("POST", "/v1/hooks/alchemy/a%20b"), &[("x-alchemy-signature", "00")], "not even JSON").await;
        assert_eq!(answer, (200, json!({ "noted": 13 })));
    }

    #[tokio::test]
    async fn a_body_that_is_none_gets_no_further_and_a_stranger_learns_nothing() {
        async fn refresh((): (), _: Asked<RefreshTokens>) -> Result<Tokens, Failure> {
            panic!("it was read")
        }
        async fn sign_out((): (), _: Asked<SignOut>) -> Result<(), Failure> {
            panic!("it was read")
        }
        let routes = || Routes::new().on(refresh).on(sign_out).with_state(());
        let json_body = [("content-type", "application/json")];
        for body in ["", "[]", "{\"refresh_token\": \"x\"}", "{\"refresh_token\": \"x\", \"device\": 1, \"odd\": 1}"] {
            let (status, problem) = ask(routes(), ("POST", "/v1/auth/refresh"), &json_body, body).await;
            assert_eq!((status, &problem["code"]), (400, &json!("malformed")), "{body}: {problem}");
        }
        // there is no context to look a token up in, which is not reached: who asks comes first, and the body does not matter
        let (status, problem) = ask(routes(), ("POST", "/v1/auth/sign-out"), &json_body, "[]").await;
        assert_eq!((status, &problem["code"]), (500, &json!("internal")), "{problem}");
    }

    #[tokio::test]
    async fn the_status_is_the_one_that_is_declared() {
        async fn nonce((): (), asked: Asked<MakeNonce>) -> Result<Nonce, Failure> {
            match asked.headers.contains_key("x-refuse") {
                true => Err(Failure::new(ErrorCode::RateLimited, "later")),
                false => Ok(Nonce { nonce: "n".into(), expires_at: time::OffsetDateTime::UNIX_EPOCH }),
            }
        }
        let routes = || Routes::new().on(nonce).with_state(());
        let (status, answer) = ask(routes(), ("POST", "/v1/auth/nonce"), &[], "").await;
        assert_eq!((status, &answer["nonce"]), (200, &json!("n")));
        let (status, problem) = ask(routes(), ("POST", "/v1/auth/nonce"), &[("x-refuse", "1")], "").await;
        assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
        assert_eq!(ask(routes(), ("GET", "/v1/auth/nonce"), &[], "").await.0, 405);
    }

    #[test]
    fn a_code_that_is_not_declared_is_refused_where_that_is_wanted() {
        let told = |code, refuses| declared::<GetOwnAccount>(Failure::new(code, "because"), refuses).code;
        for code in [ErrorCode::AccountUnknown, ErrorCode::TokenExpired, ErrorCode::Unavailable] {
            assert_eq!((told(code, true), told(code, false)), (code, code));
        }
        // it reads no body, and takes no handles
        for code in [ErrorCode::TooLarge, ErrorCode::HandleTaken] {
            assert_eq!((told(code, true), told(code, false)), (ErrorCode::Internal, code));
        }
    }
}
