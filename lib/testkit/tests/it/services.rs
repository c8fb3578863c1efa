//! Questions between domains, over NATS as they are.

use std::time::Duration;

use nepto_sdk::Env;
use nepto_testkit::{Stack, seconds};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_is_not_begun() {
    let stack = Stack::all().await.unwrap();
    let nats = stack.nats.client().await.unwrap();
    let ask = async |deadline_ms: Option<u64>, patience: Duration| {
        let mut headers = async_nats::HeaderMap::new();
        if let Some(deadline_ms) = deadline_ms {
            headers.insert("Nepto-Deadline-Ms", deadline_ms.to_string());
        }
        let question = json!({ "id": Uuid::from_u128(1) }).to_string();
        let subject = "svc.auth.find_account".to_owned();
        let asked = nats.request_with_headers(subject, headers, question.into());
        timeout(patience, asked).await.ok().map(|answer| String::from_utf8(answer.unwrap().payload.to_vec()).unwrap())
    };
    let nobody = Some(json!({ "done": null }).to_string());
    let now_ms = Env::system().now_ms();
    assert_eq!(ask(None, seconds(10)).await, nobody);
    assert_eq!(ask(Some(now_ms + 60_000), seconds(10)).await, nobody);
    assert_eq!(ask(Some(now_ms - 10_000), seconds(1)).await, None);
    assert_eq!(ask(Some(now_ms + 60_000), seconds(10)).await, nobody, "those after it are");
}
