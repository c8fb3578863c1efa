//! Handles: how they are written, which look alike, and which nobody gets. Pure rules.
//!
//! What must hold: people who read a handle think of one account. So no two accounts have handles that look alike, a handle
//! that was given up rests before somebody else gets it, and nobody speaks for the server or for everybody by name.

use std::time::Duration;

use nepto_proto::limits::HANDLE_CHARS;
use nepto_proto::names::looks_like;

/// A handle that was given up rests for so long: as long as messages are kept, so that whoever wrote to its holder knows by
/// then. Its last holder may take it back meanwhile.
pub const RESTS_FOR: Duration = Duration::from_secs(90 * 86_400);
/// Handles that an account takes within [`CHANGES_WINDOW`], taking one back included: each keeps a name from everybody else
/// for [`RESTS_FOR`].
pub const CHANGES_MAX: i64 = 5;
/// The time in which [`CHANGES_MAX`] are counted.
pub const CHANGES_WINDOW: Duration = Duration::from_secs(30 * 86_400);

/// Names of the server and of those who run it, and words that chats address everybody with. Look-alikes are as reserved.
const RESERVED: [&str; 42] = [
    "abuse",
    "account",
    "admin",
    "administrator",
    "all",
    "anonymous",
    "api",
    "bot",
    "channel",
    "compliance",
    "contact",
    "deleted",
    "everybody",
    "everyone",
    "help",
    "helpdesk",
    "here",
    "info",
    "invite",
    "legal",
    "me",
    "mod",
    "moderator",
    "nepto",
    "nobody",
    "null",
    "official",
    "operator",
    "owner",
    "postmaster",
    "privacy",
    "root",
    "security",
    "server",
    "staff",
    "support",
    "sysadmin",
    "system",
    "team",
    "undefined",
    "webmaster",
    "you",
];
/// Parts, between underscores, of which a handle must have none: `nepto_support`, `help_from_admin`.
const RESERVED_PARTS: [&str; 8] =
    ["admin", "administrator", "helpdesk", "moderator", "nepto", "official", "staff", "support"];

/// Words that speak for the server also with [`DRESSING`] around them.
const SPEAKING: [&str; 18] = [
    "admin",
    "administrator",
    "compliance",
    "everybody",
    "everyone",
    "help",
    "helpdesk",
    "mod",
    "moderator",
    "nepto",
    "official",
    "operator",
    "postmaster",
    "security",
    "staff",
    "support",
    "sysadmin",
    "webmaster",
];
/// What stands around words that speak, and makes nobody else of them; digits do as well.
const DRESSING: [&str; 24] = [
    "account", "agent", "app", "bot", "center", "chat", "client", "contact", "customer", "desk", "hq", "info", "live",
    "my", "our", "real", "s", "server", "service", "system", "team", "tech", "the", "user",
];

/// A handle in its one spelling: 3 to 32 of `a-z 0-9 _`, starting with a letter. Letters are made small.
pub fn normalize_handle(text: &str) -> Option<String> {
    let handle = text.trim().trim_start_matches('@').to_ascii_lowercase();
    let fits = HANDLE_CHARS.contains(&handle.len())
        && handle.starts_with(|first: char| first.is_ascii_lowercase())
        && handle.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    fits.then_some(handle)
}

/// What a handle looks like at a glance; handles with the same one look alike. In the manner of the skeletons of [UTS #39],
/// for the few characters that handles have ([`looks_like`]); underscores count once, and at the end not at all. It is kept, so
/// it stays as it is; for names with other characters there is `nepto_proto::names::skeleton`.
///
/// [UTS #39]: https://www.unicode.org/reports/tr39/#Confusable_Detection
pub fn skeleton(handle: &str) -> String {
    let mut skeleton = String::with_capacity(2 * handle.len());
    for letter in handle.chars() {
        match (letter, looks_like(letter)) {
            ('_', _) if skeleton.ends_with('_') => {}
            (_, Some(letters)) => skeleton.push_str(letters),
            (other, None) => skeleton.push(other),
        }
    }
    skeleton.truncate(skeleton.trim_end_matches('_').len());
    skeleton
}

/// Whether nobody gets this handle.
pub fn is_reserved(handle: &str) -> bool {
    let same = |word: &&str, looks: &str| skeleton(word) == looks;
    let looks = skeleton(handle);
    let whole = looks.replace('_', "");
    RESERVED.iter().any(|word| same(word, &whole))
        || looks.split('_').any(|part| RESERVED_PARTS.iter().any(|word| same(word, part)))
        || is_dressed(&handle.replace('_', ""))
}

/// Whether a handle without underscores is made of nothing but words that speak for the server, with digits and the words
/// that usually stand around them: `support24`, `officialnepto`, `theadmins`. One other word, as in `adminton`, makes it free.
fn is_dressed(handle: &str) -> bool {
    let bytes = handle.len();
    // up to here it is made of such words: without one that speaks, and with one
    let (mut plain, mut speaks) = (vec![false; bytes + 1], vec![false; bytes + 1]);
    plain[0] = true;
    for at in (0..bytes).filter(|at| handle.is_char_boundary(*at)) {
        let rest = &handle[at..];
        let (is_plain, is_speaking) = (plain[at], speaks[at]);
        if !is_plain && !is_speaking {
            continue;
        }
        let digit = rest.starts_with(|first: char| first.is_ascii_digit()).then_some(1);
        let dressing = DRESSING.iter().filter_map(|word| looks_begin(rest, word));
        for end in dressing.chain(digit).map(|length| at + length) {
            plain[end] |= is_plain;
            speaks[end] |= is_speaking;
        }
        for length in SPEAKING.iter().filter_map(|word| looks_begin(rest, word)) {
            speaks[at + length] = true;
        }
    }
    speaks[bytes]
}

/// How long the beginning of a text is that looks like a word, if it begins so.
fn looks_begin(text: &str, word: &str) -> Option<usize> {
    let wanted = skeleton(word);
    (1..=text.len()).find(|length| text.get(..*length).is_some_and(|begin| skeleton(begin) == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn handles_have_one_spelling() {
        assert_eq!(normalize_handle("@Alice_1"), Some("alice_1".into()));
        for bad in ["al", "1alice", "_alice", "alice!", "älice", "0x1234", &"a".repeat(33), ""] {
            assert_eq!(normalize_handle(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_looks_alike_has_one_skeleton() {
        for (one, other) in [
            ("alice", "a1ice"),
            ("alice", "al1ce"),
            ("alice", "alice_"),
            ("alice", "alice___"),
            ("the_bob", "the__bob"),
            ("bob", "b0b"),
            ("bob", "bo8"),
            ("satoshi", "5at0sh1"),
            ("marc", "rnarc"),
            ("wolf", "vvolf"),
            ("eve", "3ve"),
            ("claude", "daucle"),
            ("clara", "dara"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one} {other}");
        }
        for (one, other) in
            [("alice", "alicia"), ("user_1", "user_2"), ("room6", "room8"), ("ab_c", "abc"), ("a_b", "ab")]
        {
            assert_ne!(skeleton(one), skeleton(other), "{one} {other}");
        }
    }

    #[test]
    fn nobody_speaks_for_the_server_by_name() {
        for reserved in [
            "admin",
            "adm1n",
            "ad_min",
            "support",
            "supp0rt__",
            "everyone",
            "here",
            "nepto",
            "nept0",
            "nepto_support",
            "the_admin",
            "aclmin",
            "neptosupport",
            "neptoadmin",
            "nepto_help",
            "nepto24",
            "officialnepto",
            "supportteam",
            "support1",
            "support_1",
            "supp0rt365",
            "adminteam",
            "admins",
            "theadmin",
            "thereal_adrnin",
            "modteam",
            "customersupport",
        ] {
            assert!(is_reserved(reserved), "{reserved}");
        }
        for free in [
            "alice",
            "claire",
            "supporter",
            "adminton",
            "heretic",
            "modern",
            "modesto",
            "neptune",
            "all_hands",
            "teammate",
            "staffan",
            "helpful",
            "theo",
            "theodore",
            "realmadrid",
            "chatterbox",
            "botanist",
            "liverpool",
            "serverless",
            "info_junkie",
            "security_guy",
            "techno",
            "team7",
            "roots",
            "me2",
            "user123",
            "myles",
            "admiral",
            "neptofan",
            "helene",
            "operatic",
            "clinton",
            "david",
            "sam5",
            "everyoneelse",
        ] {
            assert!(!is_reserved(free), "{free}");
        }
    }

    proptest! {
        #[test]
        fn a_skeleton_is_its_own(handle in "[a-z][a-z0-9_]{2,31}") {
            let once = skeleton(&handle);
            // `rn`, `vv` and `cl` stay what they are
            prop_assert_eq!(skeleton(&once), once);
        }
    }
}
