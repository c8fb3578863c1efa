//! Handles: how they are written, which look alike, and which nobody gets. Pure rules.
//!
//! What must hold: people who read a handle think of one account. So no two accounts have handles that look alike, a handle
//! that was given up rests before somebody else gets it, and nobody speaks for the server or for everybody by name.

use std::time::Duration;

use nepto_proto::limits::HANDLE_CHARS;

/// A handle that was given up rests for so long: as long as messages are kept, so that whoever wrote to its holder knows by
/// then. Its last holder may take it back meanwhile.
pub const RESTS_FOR: Duration = Duration::from_secs(90 * 86_400);
/// Handles that an account takes within [`CHANGES_WINDOW`], taking one back included: each keeps a name from everybody else
/// for [`RESTS_FOR`].
pub const CHANGES_MAX: i64 = 5;
/// See [`CHANGES_MAX`].
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

/// A handle in its one spelling: 3 to 32 of `a-z 0-9 _`, starting with a letter. Letters are made small.
pub fn normalize_handle(text: &str) -> Option<String> {
    let handle = text.trim().trim_start_matches('@').to_ascii_lowercase();
    let fits = HANDLE_CHARS.contains(&handle.len())
        && handle.starts_with(|first: char| first.is_ascii_lowercase())
        && handle.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    fits.then_some(handle)
}

/// What a handle looks like at a glance; handles with the same one look alike. In the manner of the skeletons of [UTS #39],
/// for the few characters that handles have: digits are the letters they stand for, `i` and `l` are both like `1`, `m` is
/// `rn`, `w` is `vv` and `d` is `cl`; underscores count once, and at the end not at all. No two digits look alike.
///
/// [UTS #39]: https://www.unicode.org/reports/tr39/#Confusable_Detection
pub fn skeleton(handle: &str) -> String {
    let mut skeleton = String::with_capacity(2 * handle.len());
    for letter in handle.chars() {
        match letter {
            '_' if skeleton.ends_with('_') => {}
            '0' => skeleton.push('o'),
            '1' | 'i' => skeleton.push('l'),
            '2' => skeleton.push('z'),
            '3' => skeleton.push('e'),
            '4' => skeleton.push('a'),
            '5' => skeleton.push('s'),
            '6' => skeleton.push('g'),
            '7' => skeleton.push('t'),
            '8' => skeleton.push('b'),
            '9' => skeleton.push('q'),
            'm' => skeleton.push_str("rn"),
            'w' => skeleton.push_str("vv"),
            'd' => skeleton.push_str("cl"),
            other => skeleton.push(other),
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
        ] {
            assert!(is_reserved(reserved), "{reserved}");
        }
        for free in ["alice", "supporter", "adminton", "heretic", "modern", "neptune", "all_hands", "teammate"] {
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
