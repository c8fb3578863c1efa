//! The description of endpoints for `/v1/openapi.json` (OpenAPI 3.1), made from their declarations.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use nepto_proto::api::endpoint::{Asker, Declaration, Described, DescribedParameters, Endpoint, Media, Method};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::ResponsesBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{
    ComponentsBuilder, Content, ContentBuilder, HeaderBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, Response,
    ResponseBuilder, SecurityRequirement,
};

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";

/// What is to be described. The document takes milliseconds to make, so it is made when it is asked for.
#[derive(Default)]
pub struct Description {
    endpoints: Vec<fn(&mut Operations)>,
}

impl Description {
    /// Describes an endpoint as well.
    pub fn add<E: Endpoint>(&mut self) {
        self.endpoints.push(Operations::add::<E>);
    }

    /// Describes all of these as well.
    pub fn merge(&mut self, others: Self) {
        self.endpoints.extend(others.endpoints);
    }

    /// As a document, without what is true of the whole API.
    pub fn openapi(&self) -> OpenApi {
        let mut operations = Operations::default();
        for add in &self.endpoints {
            add(&mut operations);
        }
        let components = ComponentsBuilder::new().schemas_from_iter(operations.schemas).build();
        OpenApiBuilder::new().paths(operations.paths).components(Some(components)).build()
    }
}

/// Operations, and the schemas that they name.
#[derive(Default)]
struct Operations {
    paths: Paths,
    schemas: BTreeMap<String, RefOr<Schema>>,
}

impl Operations {
    fn add<E: Endpoint>(&mut self) {
        let method = match E::METHOD {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
            Method::Put => HttpMethod::Put,
            Method::Patch => HttpMethod::Patch,
            Method::Delete => HttpMethod::Delete,
            Method::Head => HttpMethod::Head,
            Method::Options => HttpMethod::Options,
        };
        let operation = self.operation::<E>();
        self.paths.add_path_operation(E::PATH, vec![method], operation);
    }

    fn operation<E: Endpoint>(&mut self) -> Operation {
        let Declaration { summary, details, .. } = Declaration::of::<E>();
        let parameters =
            [E::Path::into_params(|| Some(ParameterIn::Path)), E::Query::into_params(|| Some(ParameterIn::Query))];
        let parameters = parameters.concat();
        let open = (!E::Asker::HAS_TOKEN).then(|| vec![SecurityRequirement::default()]);
        OperationBuilder::new()
            .operation_id(Some(operation_id(E::NAME)))
            .tag(E::TAG)
            .summary(Some(summary))
            .description(Some(details).filter(|details| !details.is_empty()))
            .parameters((!parameters.is_empty()).then_some(parameters))
            .request_body(self.request::<E>())
            .responses(
                ResponsesBuilder::new()
                    .responses_from_iter(self.answers::<E>())
                    .responses_from_iter(self.problems::<E>()),
            )
            .securities(open)
            .build()
    }

    fn request<E: Endpoint>(&mut self) -> Option<RequestBody> {
        let (kind, content) = match E::TAKES {
            Media::Nothing => return None,
            Media::Json => (JSON, self.content::<E::Body>()),
            Media::Bytes(kind) | Media::Stream(kind) => (kind, Content::default()),
        };
        Some(RequestBodyBuilder::new().content(kind, content).required(Some(Required::True)).build())
    }

    fn answers<E: Endpoint>(&mut self) -> Vec<(String, Response)> {
        let answer = ResponseBuilder::new();
        let answer = match E::GIVES {
            Media::Nothing => answer.description("It is done."),
            Media::Json => answer.description(about::<E::Reply>()).content(JSON, self.content::<E::Reply>()),
            Media::Bytes(kind) | Media::Stream(kind) => {
                answer.description("The file.").content(kind, Content::default())
            }
        };
        let mut answers = vec![(E::STATUS.to_string(), answer.build())];
        if matches!(E::GIVES, Media::Bytes(_)) {
            let same = ResponseBuilder::new().description("The file is the one of `If-None-Match`.");
            answers.push(("304".to_owned(), same.build()));
        }
        answers
    }

    /// A response for each status, with the codes that it may carry. Those of the endpoint alone have an example.
    fn problems<E: Endpoint>(&mut self) -> Vec<(String, Response)> {
        let problem = self.reference::<Problem>();
        let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
        for code in E::codes() {
            by_status.entry(code.status()).or_default().push(code);
        }
        let response = |(status, codes): (u16, Vec<ErrorCode>)| {
            let names = ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(codes.iter().map(|code| code.as_str())));
            let codes_alone = ObjectBuilder::new().property("code", names);
            let schema = AllOfBuilder::new().item(problem.clone()).item(codes_alone);
            let examples = codes.iter().filter(|code| E::CODES.contains(code)).map(|code| {
                let value = serde_json::to_value(Problem::new(*code, "")).ok();
                (code.as_str(), ExampleBuilder::new().summary(code.title()).value(value).build())
            });
            let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build();
            let mut response = ResponseBuilder::new().description(meanings(&codes)).content(PROBLEM_JSON, content);
            if status == 401 {
                response = response.header(
                    "WWW-Authenticate",
                    HeaderBuilder::new().description(Some("What is asked for (RFC 6750).")).build(),
                );
            }
            if matches!(status, 429 | 503) {
                let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
                let header =
                    HeaderBuilder::new().schema(seconds).description(Some("Seconds, where a retry makes sense."));
                response = response.header("Retry-After", header.build());
            }
            (status.to_string(), response.build())
        };
        by_status.into_iter().map(response).collect()
    }

    fn content<T: Described>(&mut self) -> Content {
        ContentBuilder::new().schema(Some(self.reference::<T>())).build()
    }

    /// Names a schema, and keeps it with those that it names itself.
    fn reference<T: Described>(&mut self) -> RefOr<Schema> {
        let name = T::name().into_owned();
        let mut named = vec![(name.clone(), T::schema())];
        T::schemas(&mut named);
        self.schemas.extend(named);
        Ref::from_schema_name(name).into()
    }
}

/// `LookUpAccount` as `lookUpAccount`.
fn operation_id(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// What a schema says of itself.
fn about<T: Described>() -> String {
    let description = match T::schema() {
        RefOr::T(Schema::Object(object)) => object.description,
        RefOr::T(Schema::AllOf(all)) => all.description,
        _ => None,
    };
    description.unwrap_or_default()
}

fn meanings(codes: &[ErrorCode]) -> String {
    let mut text = String::new();
    for code in codes {
        // writing to a text can't fail
        let _ = writeln!(text, "- `{code}`: {}", code.title());
    }
    text
}

#[cfg(test)]
mod tests {
    use nepto_proto::api::endpoints::accounts::{GetOwnAccount, UpdateOwnAccount};
    use nepto_proto::api::endpoints::auth::MakeNonce;
    use serde_json::{Value, json};

    use super::*;

    fn described() -> Value {
        let mut description = Description::default();
        description.add::<GetOwnAccount>();
        let mut others = Description::default();
        others.add::<UpdateOwnAccount>();
        others.add::<MakeNonce>();
        description.merge(others);
        serde_json::to_value(description.openapi()).unwrap()
    }

    #[test]
    fn an_operation_says_what_it_does_and_what_may_go_wrong() {
        let document = described();
        let operation = &document["paths"]["/v1/accounts/me"]["patch"];
        assert_eq!(operation["summary"], "Changes the own profile");
        assert!(operation["description"].as_str().unwrap().starts_with("What is absent stays"), "{operation}");
        assert_eq!((&operation["operationId"], &operation["tags"]), (&json!("updateOwnAccount"), &json!(["accounts"])));
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["$ref"], "#/components/schemas/UpdateProfile");
        assert!(document["components"]["schemas"]["UpdateProfile"]["properties"]["handle"].is_object());
        let conflict = &operation["responses"]["409"]["content"]["application/problem+json"];
        let codes = &conflict["schema"]["allOf"][1]["properties"]["code"]["enum"];
        assert_eq!(*codes, json!(["handle_taken", "handle_resting", "handle_reserved", "handle_limit"]));
        assert_eq!(conflict["examples"]["handle_taken"]["value"]["status"], 409);
        for status in ["200", "400", "401", "413", "422", "429", "500", "503", "504"] {
            assert!(
                operation["responses"][status]["description"].as_str().is_some_and(|text| text.len() > 5),
                "{status}"
            );
        }
    }

    #[test]
    fn what_reads_nothing_and_asks_for_no_token_has_no_codes_of_either() {
        let document = described();
        let nonce = &document["paths"]["/v1/auth/nonce"]["post"];
        assert_eq!(nonce["security"], json!([{}]));
        let statuses: Vec<&String> = nonce["responses"].as_object().unwrap().keys().collect();
        assert_eq!(statuses, ["200", "429", "500", "503", "504"]);
        let own = &document["paths"]["/v1/accounts/me"]["get"];
        assert!(own["security"].is_null() && own["responses"]["401"].is_object() && own["responses"]["413"].is_null());
        // of two tokens
        let malformed = &own["responses"]["400"]["content"]["application/problem+json"];
        assert_eq!(malformed["schema"]["allOf"][1]["properties"]["code"]["enum"], json!(["malformed"]));
        assert!(own["parameters"].is_null() && own["requestBody"].is_null());
    }
}
