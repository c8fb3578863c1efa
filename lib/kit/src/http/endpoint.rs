//! Endpoints with the code that answers them. The route and its description are made from the endpoint's declaration
//! ([`nepto_proto::api::endpoint`]), and the handler's types are those of the declaration.
//!
//! An answer with a code that the endpoint does not declare is written to the log. With `NEPTO_REFUSE_UNDECLARED` in the
//! environment, as in tests, it is refused: so the lists stay true.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use axum::{Json, Router};
use nepto_proto::ErrorCode;
use nepto_proto::api::endpoint::{Anybody, Asker, Endpoint, Media, Method, SignedIn};
use nepto_proto::limits::HTTP_BODY_BYTES_MAX;
use serde::de::DeserializeOwned;
use utoipa::openapi::OpenApi;

use super::description::Description;
use super::{Caller, ClientAddress, JsonBody, Path, Query};
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
    /// Who asks comes first: strangers do not learn what they said wrong.
    async fn read(request: Request) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let who = E::Asker::admit(&mut parts).await?;
        let Path(path) = Path::from_request_parts(&mut parts, &()).await?;
        let Query(query) = Query::from_request_parts(&mut parts, &()).await?;
        let headers = parts.headers.clone();
        let request = Request::from_parts(parts, body);
        let (body, bytes) = match E::TAKES {
            Media::Nothing => (nothing()?, Bytes::new()),
            Media::Json => (JsonBody::from_request(request, &()).await?.0, Bytes::new()),
            Media::Bytes(_) => (nothing()?, read_bytes(request).await?),
        };
        Ok(Self { who, path, query, body, bytes, headers })
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
        self.mount(answer, |reply: E::Reply| {
            let status = StatusCode::from_u16(E::STATUS).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            match E::GIVES {
                Media::Json => (status, Json(reply)).into_response(),
                Media::Nothing | Media::Bytes(_) => status.into_response(),
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
        self.mount(answer, std::convert::identity)
    }

    fn mount<E, T, F, R>(
        mut self,
        answer: impl Fn(T, Asked<E>) -> F + Clone + Send + Sync + 'static,
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
                    Ok(asked) => answer(state, asked).await,
                    Err(failure) => Err(failure),
                };
                match answered {
                    Ok(reply) => write(reply),
                    Err(failure) => declared::<E>(failure).into_response(),
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
    pub fn into_parts(self) -> (Router, OpenApi) {
        (self.router, self.description.into_openapi())
    }
}

const fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
    }
}

/// A failure that the endpoint declares.
fn declared<E: Endpoint>(failure: Failure) -> Failure {
    if E::may_answer(failure.code) {
        return failure;
    }
    let undeclared = format!("{} answers {}, which it does not declare", E::NAME, failure);
    match *REFUSES_UNDECLARED {
        true => Failure::internal(anyhow::anyhow!(undeclared)),
        false => {
            tracing::error!("{undeclared}");
            failure
        }
    }
}
