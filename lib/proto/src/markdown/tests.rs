use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;

const ACCOUNT: &str = "<@01981234-0000-7000-8000-00000000000a>";
const ROLE: &str = "<@&0198123400007000800000000000000b>";

/// docs/markdown.json
#[derive(Deserialize)]
struct Vectors {
    names: BTreeMap<Uuid, String>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    markdown: String,
    document: Value,
    plain: String,
    mentions: MentionsOf,
}

#[derive(Deserialize)]
struct MentionsOf {
    users: Vec<AccountId>,
    roles: Vec<RoleId>,
    everyone: bool,
}

#[test]
fn texts_are_read_as_the_vectors_say() {
    let file: Vectors = serde_json::from_str(include_str!("../../../../docs/markdown.json")).expect("vectors");
    assert!(file.vectors.len() > 30);
    let name = |named: Named| match named {
        Named::User(id) => file.names.get(&id.uuid()).cloned(),
        Named::Role(id) => file.names.get(&id.uuid()).cloned(),
        Named::Channel(id) => file.names.get(&id.uuid()).cloned(),
    };
    for Vector { markdown, document, plain: wanted, mentions: MentionsOf { users, roles, everyone } } in &file.vectors {
        let read = parse(markdown);
        assert_eq!(&serde_json::to_value(&read).expect("JSON"), document, "{markdown:?}");
        assert_eq!(&serde_json::from_value::<Vec<Block>>(document.clone()).expect("a document"), &read, "{markdown:?}");
        assert_eq!(&plain(&read, Spoilers::Shown, &name), wanted, "{markdown:?}");
        let wanted = Mentions { users: users.clone(), roles: roles.clone(), everyone: *everyone };
        assert_eq!(mentions(markdown), wanted, "{markdown:?}");
    }
}

#[test]
fn any_text_is_read_in_linear_time() {
    for part in [
        "*a ",
        "**a *b ",
        "_a ",
        "~~a ",
        "||a",
        "***",
        "*",
        "**_**",
        "*_~~||[a ",
        "[",
        "]",
        "](",
        "[a](",
        "[[]",
        "[a](http://a",
        "[a](http://a.b) ",
        "[ ](http://a.b)",
        "`",
        "` `` ``` ",
        "`a``b",
        "```\n",
        "```a",
        "<",
        "<@",
        "<:aa",
        "@everyone",
        "http://a",
        "http://(",
        "http://a)",
        "http://a.b/) ",
        "> ",
        "> > > ",
        "> `a\n",
        "> - *a\n",
        "- a\n",
        "1. [a\n",
        "# *a\n",
        "\\",
        "\\`",
        "\n",
        " ",
        "h",
        "a\u{300}",
        "上",
    ] {
        let text = part.repeat(100_000 / part.len());
        let (_, steps) = parse_counted(&text);
        assert!(steps <= 100 * text.len() + 1_000, "{part:?}: {steps} steps for {} bytes", text.len());
    }
}

#[test]
fn mentions_are_bounded_and_counted_once() {
    let many: String = (0..3 * MENTIONS_MAX as u128)
        .map(|at| format!("<@{}> <@{}> ", Uuid::from_u128(at), Uuid::from_u128(at)))
        .collect();
    let found = mentions(&many);
    assert_eq!(found.users.len(), MENTIONS_MAX);
    assert_eq!(found.users[1], AccountId::new(Uuid::from_u128(1)));
    assert!(!found.everyone);
}

#[test]
fn a_spoiler_is_hidden_and_still_mentions() {
    let document = parse(&format!("||it was {ACCOUNT}|| gm"));
    let nobody = |_: Named| None;
    assert_eq!(plain(&document, Spoilers::Hidden, &nobody), "███ gm");
    let sent_on = escaped(&document, Spoilers::Hidden);
    assert_eq!(sent_on, format!("███{ACCOUNT} gm"));
    assert_eq!(mentions(&sent_on).users.len(), 1);
}

#[test]
fn names_stay_where_they_are_put() {
    let document = parse(&format!("{ACCOUNT} and {ACCOUNT}"));
    let named = |_: Named| Some("שלום".to_owned());
    assert_eq!(plain(&document, Spoilers::Shown, &named), "\u{2068}@שלום\u{2069} and \u{2068}@שלום\u{2069}");
    let left_out = |_: Named| Some(String::new());
    assert_eq!(plain(&document, Spoilers::Shown, &left_out), " and ");
}

#[test]
fn a_link_says_where_it_leads() {
    for (target, text) in [
        ("https://example.org/", "example.org"),
        ("https://www.example.org", "https://example.org"),
        ("mailto:a@example.org", "a@example.org"),
    ] {
        assert!(is_shown_by(target, text), "{target} {text}");
    }
    for (target, text) in [("https://evil.example", "https://example.org"), ("https://example.org/x", "example.org")] {
        assert!(!is_shown_by(target, text), "{target} {text}");
    }
}

/// How deep it goes.
fn depth(blocks: &[Block]) -> usize {
    fn of(content: &[Inline]) -> usize {
        let inner = |inline: &Inline| match inline {
            Inline::Bold { content }
            | Inline::Italic { content }
            | Inline::Strike { content }
            | Inline::Spoiler { content }
            | Inline::Link { content, .. } => 1 + of(content),
            _ => 1,
        };
        content.iter().map(inner).max().unwrap_or(0)
    }
    let inner = |block: &Block| match block {
        Block::Paragraph { content } | Block::Heading { content, .. } => of(content),
        Block::Code { .. } => 1,
        Block::Quote { blocks } => 1 + depth(blocks),
        Block::List { items, .. } => 1 + items.iter().map(|item| of(item)).max().unwrap_or(0),
    };
    blocks.iter().map(inner).max().unwrap_or(0)
}

fn any_markdown() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "*",
        "**",
        "_",
        "~~",
        "||",
        "`",
        "``",
        "```",
        "[",
        "](",
        "](http://a.b)",
        ")",
        "<",
        "@everyone",
        "http://a.b/",
        "\\",
        "\n",
        "> ",
        "- ",
        "1. ",
        "## ",
        " ",
        "a",
        "word",
        "_x_",
        "上海",
        "🙂",
        "<:ab:01981234000070008000000000000001>",
        ACCOUNT,
        ROLE,
        "<#01981234-0000-7000-8000-00000000000c>",
        "\r",
        "\u{202e}",
    ]);
    prop::collection::vec(parts, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_text_is_a_document(text in "\\PC{0,100}|[\\s\\S]{0,100}") {
        let (document, steps) = parse_counted(&text);
        prop_assert!(depth(&document) <= DEPTH_MAX);
        prop_assert!(steps <= 100 * text.len() + 1_000);
        let _ = plain(&document, Spoilers::Shown, &|_| None);
    }

    #[test]
    fn nothing_nests_deeper_than_is_said(text in any_markdown()) {
        prop_assert!(depth(&parse(&text)) <= DEPTH_MAX);
    }

    #[test]
    fn a_text_without_formatting_mentions_the_same(text in any_markdown()) {
        let sent_on = escaped(&parse(&text), Spoilers::Shown);
        prop_assert_eq!(mentions(&sent_on), mentions(&text), "{:?}", sent_on);
        // nothing is left to format
        prop_assert!(depth(&parse(&sent_on)) <= 1);
    }

    #[test]
    fn what_is_escaped_is_shown_as_it_is(text in any_markdown()) {
        let shown = plain(&parse(&escape(&text)), Spoilers::Shown, &|_| None);
        let lines: Vec<&str> = text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect();
        prop_assert_eq!(shown, lines.join("\n"));
    }
}
