//! What is the same for all operations in the description of the API, and so stands in none of them.

use std::collections::BTreeSet;

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{OpenApi, Ref, RefOr, Response};

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
const PROBLEM: &str = "#/components/schemas/Problem";

/// Errors are problem documents (RFC 9457), whatever the operation calls them, and each parameter stands there once.
pub fn finish(mut description: OpenApi) -> OpenApi {
    for operation in description.paths.paths.values_mut().flat_map(operations) {
        // what the handler's types say of a parameter comes behind what was written of it
        let mut named = BTreeSet::new();
        if let Some(parameters) = &mut operation.parameters {
            parameters.retain(|parameter| named.insert(parameter.name.clone()));
        }
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response {
                name_problems(response);
            }
        }
    }
    description
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn name_problems(response: &mut Response) {
    let is_problem = response.content.get(JSON).is_some_and(
        |content| matches!(&content.schema, Some(RefOr::Ref(Ref { ref_location, .. })) if ref_location == PROBLEM),
    );
    if is_problem && let Some(content) = response.content.shift_remove(JSON) {
        response.content.insert(PROBLEM_JSON.to_owned(), content);
    }
}
