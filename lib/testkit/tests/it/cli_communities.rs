//! Communities from the command line, by two people.

use nepto_testkit::Stack;
use serde_json::Value;

use crate::cli::Home;

/// The one object that a command prints.
pub async fn one(home: &Home, line: &str) -> Value {
    let said = home.nepto(&format!("{line} --json")).await.unwrap().json().unwrap();
    assert_eq!(said.len(), 1, "{line}: {said:?}");
    said[0].clone()
}

/// The objects that a command prints.
pub async fn all(home: &Home, line: &str) -> Vec<Value> {
    home.nepto(&format!("{line} --json")).await.unwrap().json().unwrap()
}

/// The code of a command that the server refuses.
pub async fn refused(home: &Home, line: &str) -> String {
    let (exit, code) = home.nepto(&format!("{line} --json")).await.unwrap().failure().unwrap();
    assert_eq!(exit, 4, "{code}");
    code
}

#[tokio::test]
async fn somebody_is_invited_given_a_role_and_thrown_out() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = (Home::join(&stack, "alice").await.unwrap(), Home::join(&stack, "bob").await.unwrap());

    let community = one(&alice, "community create Gardeners").await;
    assert_eq!((&community["visibility"], &community["members"]), (&"private".into(), &1.into()));
    let id = community["community"].as_str().unwrap();
    assert_eq!(refused(&bob, &format!("community show {id}")).await, "not_found");

    let role = one(&alice, "role create Gardeners helpers --allow manage_roles,kick_members --color #2ecc71").await;
    assert_eq!(role["permissions"], serde_json::json!(["manage_roles", "kick_members"]));
    let channel = one(&alice, "channel create Gardeners shed --private --slow-mode 10s").await;
    assert_eq!((&channel["private"], &channel["slow_mode_s"]), (&true.into(), &10.into()));

    let invite = one(&alice, "community invite Gardeners --uses 1").await;
    let joined = one(&bob, &format!("community join {}", invite["code"].as_str().unwrap())).await;
    assert_eq!(joined["community"], community["community"]);
    assert_eq!(one(&bob, "community list").await["name"], "Gardeners");
    assert_eq!(all(&alice, "community members Gardeners").await.len(), 2);
    let seen = all(&bob, "channel list Gardeners").await;
    assert!(seen.iter().all(|channel| channel["name"] != "shed"), "{seen:?}");
    // by the names that people know
    one(&alice, "channel override Gardeners #shed --role everyone --allow view_channel").await;
    let seen = all(&bob, "channel list Gardeners").await;
    assert!(seen.iter().any(|channel| channel["name"] == "shed"), "{seen:?}");

    assert_eq!(refused(&bob, "role create Gardeners own").await, "permission_needed");
    let member = one(&alice, "role grant Gardeners helpers @bob").await;
    assert_eq!(member["roles"], serde_json::json!([role["role"]]));
    one(&bob, "role create Gardeners own --allow kick_members").await;
    assert_eq!(refused(&bob, "role edit Gardeners own --allow ban_members").await, "permission_needed");
    assert_eq!(refused(&bob, "role edit Gardeners helpers --name kings").await, "rank_too_low");

    assert_eq!(refused(&alice, "community leave Gardeners").await, "owner_stays");
    let kicked = one(&alice, "community kick Gardeners @bob --reason enough").await;
    assert_eq!(kicked["account"], member["account"]);
    assert!(all(&bob, "community list").await.is_empty());
    let newest = all(&alice, "community audit Gardeners --limit 1").await;
    assert_eq!((&newest[0]["action"], &newest[0]["reason"]), (&"member_kicked".into(), &"enough".into()));
    let table = alice.nepto("community audit Gardeners").await.unwrap().well().unwrap();
    assert!(table.contains("member_kicked") && table.contains("role_granted"), "{table}");
}
