use super::*;
use alloy_primitives::address;
use proptest::prelude::*;
use time::macros::datetime;

fn message() -> SiweMessage {
    SiweMessage {
        scheme: None,
        domain: "chat.example.org".into(),
        address: address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
        statement: Some("Sign in to Nepto.".into()),
        uri: "https://chat.example.org".into(),
        chain_id: 1,
        nonce: "abcdefgh12345678".into(),
        issued_at: datetime!(2026-01-02 03:04:05 UTC).into(),
        expiration_time: Some(datetime!(2026-01-02 03:14:05 UTC).into()),
        not_before: Some(datetime!(2026-01-02 03:04:00 UTC).into()),
        request_id: Some("r-1".into()),
        resources: vec!["urn:nepto:device:1:AA".into()],
    }
}

fn expected() -> Expected<'static> {
    Expected {
        domain: "chat.example.org",
        uri: "https://chat.example.org",
        chains: &[1],
        now: datetime!(2026-01-02 03:05:00 UTC),
    }
}

#[test]
fn the_form_is_that_of_the_eip() {
    let text = "chat.example.org wants you to sign in with your Ethereum account:\n\
        0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\n\nSign in to Nepto.\n\nURI: https://chat.example.org\nVersion: 1\n\
        Chain ID: 1\nNonce: abcdefgh12345678\nIssued At: 2026-01-02T03:04:05Z\n\
        Expiration Time: 2026-01-02T03:14:05Z\nNot Before: 2026-01-02T03:04:00Z\nRequest ID: r-1\n\
        Resources:\n- urn:nepto:device:1:AA";
    assert_eq!(message().to_string(), text);
    assert_eq!(text.parse(), Ok(message()));
    let bare = SiweMessage {
        statement: None,
        expiration_time: None,
        not_before: None,
        request_id: None,
        resources: vec![],
        ..message()
    };
    assert!(bare.to_string().contains("2266\n\n\nURI: "));
    assert_eq!(bare.to_string().parse(), Ok(bare));
}

#[test]
fn deviations_from_the_form_are_refused() {
    let good = message().to_string();
    for (from, to) in [
        ("0xf39F", "0xF39F"),                 // not EIP-55
        ("Version: 1", "Version: 2"),         // unknown version
        ("Chain ID: 1", "Chain ID: 01"),      // not canonical
        ("Chain ID: 1", "Chain ID: -1"),      // negative
        ("abcdefgh12345678", "short"),        // nonce too short
        ("abcdefgh12345678", "abc_efgh1234"), // nonce with other characters
        ("2026-01-02T03:04:05Z", "2026-01-02 03:04:05"),
        ("\nURI", "\r\nURI"),
        ("\n\nSign in", "\nSign in"),
        ("chat.example.org wants", "user@chat.example.org wants"),
        ("Resources:\n- urn:nepto:device:1:AA", "Resources:"),
        ("Nonce: ", "nonce: "),
        // what no part of the grammar has, although a screen may show it as something else, or not at all
        ("Sign in to Nepto.", "Sign in\u{2028}URI: https://evil.example.org"),
        ("Sign in to Nepto.", "\u{202e}.otpeN ot ni ngiS"),
        ("Sign in to Nepto.", "Sign in to N\u{435}pto."),
        ("Sign in to Nepto.", "Sign in to \"Nepto\"."),
        ("Sign in to Nepto.", "Sign in to <Nepto>."),
        ("Sign in to Nepto.", "Sign\tin"),
        ("chat.example.org wants", "ch\u{200b}at.example.org wants"),
        ("chat.example.org wants", "://chat.example.org wants"),
        ("chat.example.org wants", "1https://chat.example.org wants"),
        ("chat.example.org wants", "https://user@chat.example.org wants"),
        ("chat.example.org wants", "https://https://chat.example.org wants"),
        ("chat.example.org wants", "https:/chat.example.org wants"),
        ("URI: https", "URI: //https"),
        ("URI: https://chat.example.org", "URI: https://chat.example.org/a b"),
        ("URI: https://chat.example.org", "URI: https://chat.example.org/\u{e9}"),
        ("Request ID: r-1", "Request ID: r 1"),
        ("Request ID: r-1", "Request ID: r\u{2028}1"),
        ("- urn:nepto:device:1:AA", "- urn:nepto:device:1:AA\u{200b}"),
        ("- urn:nepto:device:1:AA", "- no uri"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert!(bad.parse::<SiweMessage>().is_err(), "{from} -> {to}");
    }
    assert!(format!("{good}\n").parse::<SiweMessage>().is_err());
    assert!("".parse::<SiweMessage>().is_err());
}

#[test]
fn a_scheme_may_stand_before_the_domain_and_must_be_the_servers() {
    let with = |scheme: &str| SiweMessage { scheme: Some(scheme.into()), ..message() };
    let text = with("https").to_string();
    assert!(text.starts_with("https://chat.example.org wants you to sign in"), "{text}");
    assert_eq!(text.parse(), Ok(with("https")));
    assert_eq!(with("https").check(&expected()), Ok(()));
    for other in ["http", "ftp", "HTTPS", "https+x"] {
        let read: SiweMessage = with(other).to_string().parse().unwrap();
        assert_eq!(read.check(&expected()).unwrap_err().code(), ErrorCode::SiweDomain, "{other}");
    }
    let plain = Expected { uri: "http://localhost:8080", domain: "localhost:8080", ..expected() };
    let local = SiweMessage { domain: plain.domain.into(), uri: plain.uri.into(), ..with("http") };
    assert_eq!(local.check(&plain), Ok(()));
    assert_eq!(local.to_string().parse(), Ok(local));
}

#[test]
fn every_field_is_checked() {
    assert_eq!(message().check(&expected()), Ok(()));
    let code = |message: &SiweMessage, expected: &Expected<'_>| message.check(expected).unwrap_err().code();
    assert_eq!(code(&message(), &Expected { domain: "evil.org", ..expected() }), ErrorCode::SiweDomain);
    assert_eq!(code(&message(), &Expected { uri: "https://evil.org", ..expected() }), ErrorCode::SiweUri);
    assert_eq!(code(&message(), &Expected { chains: &[137], ..expected() }), ErrorCode::SiweChain);
    let at = |now| Expected { now, ..expected() };
    assert_eq!(code(&message(), &at(datetime!(2026-01-02 04:05:00 UTC))), ErrorCode::ClockSkew);
    assert_eq!(code(&message(), &at(datetime!(2026-01-02 02:05:00 UTC))), ErrorCode::ClockSkew);
    let short = SiweMessage { expiration_time: Some(datetime!(2026-01-02 03:04:30 UTC).into()), ..message() };
    assert_eq!(code(&short, &expected()), ErrorCode::SiweExpired);
    let early = SiweMessage { not_before: Some(datetime!(2026-01-02 03:06:00 UTC).into()), ..message() };
    assert_eq!(code(&early, &expected()), ErrorCode::SiweNotYetValid);
}

proptest! {
    #[test]
    fn any_text_is_refused_or_read_back_but_never_a_panic(text in "(?s).{0,400}") {
        if let Ok(message) = text.parse::<SiweMessage>() {
            prop_assert_eq!(message.to_string(), text);
        }
    }

    #[test]
    fn a_changed_byte_never_means_the_same(at in 0usize..500, with in any::<u8>()) {
        let good = message().to_string();
        let at = at % good.len();
        let mut bytes = good.clone().into_bytes();
        prop_assume!(bytes[at] != with);
        bytes[at] = with;
        if let Ok(Ok(changed)) = String::from_utf8(bytes).map(|text| text.parse::<SiweMessage>()) {
            prop_assert_ne!(changed, message());
        }
    }
}
