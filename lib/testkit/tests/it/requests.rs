//! What a request has to look like before anybody looks at what it asks for.

use nepto_testkit::Stack;

use crate::people::Person;

#[tokio::test]
async fn a_device_has_one_number_in_a_path_and_a_request_one_token() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    let token = person.client.http().access_token().await.unwrap();
    let ask = async |method: &str, path: &str, authorizations: &[String]| {
        let method = method.parse().unwrap();
        let mut request = crate::http::client().request(method, format!("{}{path}", stack.url()));
        for authorization in authorizations {
            request = request.header("Authorization", authorization);
        }
        request.send().await.unwrap().json::<serde_json::Value>().await.unwrap()
    };
    let bearer = [format!("Bearer {token}")];
    let device = person.client.device();
    for number in [format!("0{device}"), format!("+{device}"), format!("%20{device}"), format!("%2B{device}")] {
        let answer = ask("DELETE", &format!("/v1/devices/{number}"), &bearer).await;
        assert_eq!(answer["code"], "malformed", "{number}");
    }
    let account = person.account();
    for id in [format!("urn:uuid:{}", account.uuid()), format!("%7B{}%7D", account.uuid())] {
        assert_eq!(ask("GET", &format!("/v1/accounts/{id}/devices"), &bearer).await["code"], "malformed", "{id}");
    }
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer "] {
        let answer = ask("GET", "/v1/accounts/me", &[format!("{scheme} {token}")]).await;
        assert_eq!(answer["account"], account.uuid().to_string(), "{answer}");
    }
    for scheme in ["Basic", "Bearerx", ""] {
        let answer = ask("GET", "/v1/accounts/me", &[format!("{scheme} {token}")]).await;
        assert_eq!(answer["code"], "unauthenticated", "{scheme}");
    }
    let twice = [bearer[0].clone(), "Bearer other".to_owned()];
    assert_eq!(ask("GET", "/v1/accounts/me", &twice).await["code"], "malformed");
}
