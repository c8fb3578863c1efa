//! Messages of channels from the command line, by two people.

use nepto_testkit::Stack;

use crate::cli::Home;
use crate::cli_communities::{all, one, refused};
use crate::cli_running::{event, interrupt};

const PLACE: &str = "Gardeners/#tomatoes";

#[tokio::test]
async fn two_people_talk_in_a_channel() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = (Home::join(&stack, "alice").await.unwrap(), Home::join(&stack, "bob").await.unwrap());
    let me = one(&alice, "whoami").await["account"].as_str().unwrap().to_owned();
    let community = one(&alice, "community create Gardeners --visibility public").await;
    let channel = one(&alice, "channel create Gardeners tomatoes").await["channel"].as_str().unwrap().to_owned();
    assert_eq!(refused(&bob, &format!("read {channel}")).await, "not_found");
    one(&bob, &format!("community join {}", community["community"].as_str().unwrap())).await;

    let (following, mut lines) = alice.start(&format!("follow {PLACE} --json")).unwrap();
    let followed = event(&mut lines, "channel_followed").await.unwrap();
    assert_eq!((&followed["channel"], &followed["reload"]), (&channel.as_str().into(), &false.into()));
    let first = one(&bob, &format!("post {PLACE} the **red** ones, <@{me}>")).await;
    assert_eq!(first["duplicate"], false);
    let heard = event(&mut lines, "channel_posted").await.unwrap();
    assert_eq!((&heard["id"], &heard["message"]["mentions"]["users"][0]), (&first["message"], &me.as_str().into()));
    let id = first["message"].as_str().unwrap();
    one(&bob, &format!("message edit {PLACE} {id} the **ripe** ones")).await;
    assert_eq!(event(&mut lines, "channel_edited").await.unwrap()["text"], "the **ripe** ones");
    one(&bob, &format!("message react {channel} {id} 👍")).await;
    let reaction = event(&mut lines, "channel_reaction").await.unwrap();
    assert_eq!((&reaction["message"], &reaction["removed"]), (&id.into(), &false.into()));
    let slip = one(&bob, &format!("post {PLACE} a slip --reply-to {id}")).await;
    let slip = slip["message"].as_str().unwrap();
    one(&bob, &format!("message delete {PLACE} {slip}")).await;
    assert_eq!(event(&mut lines, "channel_deleted").await.unwrap()["messages"], serde_json::json!([slip]));
    interrupt(following).await.unwrap();

    let unread = all(&alice, "unread").await;
    assert_eq!((unread.len(), &unread[0]["name"], &unread[0]["mentions"]), (1, &"tomatoes".into(), &1.into()));
    let shown = alice.nepto(&format!("read {PLACE}")).await.unwrap().well().unwrap();
    assert!(shown.contains("@bob  the ripe ones  (edited)") && shown.contains("👍 1"), "{shown}");
    assert!(!shown.contains("slip"), "{shown}");
    assert!(all(&alice, "unread Gardeners").await.is_empty(), "it was read");

    assert_eq!(refused(&alice, &format!("message edit {PLACE} {id} mine")).await, "permission_needed");
    assert_eq!(refused(&bob, &format!("message pin {PLACE} {id}")).await, "permission_needed");
    one(&alice, &format!("message pin {PLACE} {id}")).await;
    assert_eq!(one(&bob, &format!("message pins {PLACE}")).await["message"], id);
    one(&alice, &format!("post {PLACE} they are --reply-to {id}")).await;
    let newer = all(&bob, &format!("read {PLACE} --after {id} --peek")).await;
    assert_eq!((newer.len(), &newer[0]["text"], &newer[0]["reply_to"]), (1, &"they are".into(), &id.into()));
    let before = all(&bob, &format!("read {PLACE} --before {}", newer[0]["message"].as_str().unwrap())).await;
    assert_eq!((before.len(), &before[0]["message"], &before[0]["pinned"]), (1, &id.into(), &true.into()));

    // it begins with what was posted before, and shows it as a person reads it
    let (following, mut lines) = bob.start(&format!("follow {channel} --history 2")).unwrap();
    let first = lines.next_line().await.unwrap().unwrap();
    assert!(first.ends_with("you  the ripe ones  (edited) (pinned)"), "{first}");
    interrupt(following).await.unwrap();

    // a pipe is a chat in a channel too: each line a message
    alice.with_input(&["chat", "#tomatoes"], "one line\nand another\n").await.unwrap().well().unwrap();
    let newest = all(&bob, &format!("read {PLACE} --limit 2")).await;
    assert_eq!((&newest[0]["text"], &newest[1]["text"]), (&"one line".into(), &"and another".into()));
}
