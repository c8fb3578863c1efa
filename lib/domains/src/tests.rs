//! What the domains declare, beside the files that name it too.

mod deployments;
mod metrics;
mod migrations;
mod plans;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nepto_kit::config::{Config, Elsewhere, fields_of};
use nepto_kit::nats;
use toml::Table;

use crate::chains::{Chain, Contract, Hook};
use crate::communities::HISTORY;
use crate::messaging::ROUTER;

/// Beside whatever is called so.
const TESTS_OF_OTHER_NAMES: [&str; 1] = ["two_people"];
const SAMPLE: &str = include_str!("../../../docs/nepto.example.toml");

fn parsed(text: &str) -> Result<Config, String> {
    Config::parse(text, [], &crate::sections()).map_err(|error| error.to_string())
}

/// The sample with what is commented out of it.
fn whole_sample() -> String {
    let is_setting = |line: &str| line.starts_with("[[") || line.split(' ').nth(1) == Some("=");
    let uncommented = SAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if is_setting(setting) => setting,
        _ => line,
    });
    // the one that every other field of its section may stand beside
    uncommented.collect::<Vec<_>>().join("\n").replace("proof = \"none\"", "proof = \"nft\"")
}

#[test]
fn the_sample_names_every_field_with_its_default() {
    let as_it_stands = format!("{:#?}", parsed(SAMPLE).unwrap());
    assert_eq!(as_it_stands, format!("{:#?}", parsed("").unwrap()));
    let fields = as_it_stands.lines().filter(|line| line.contains(": ") && !line.ends_with('{')).count();
    let named = SAMPLE.lines().filter(|line| line.trim_start_matches("# ").contains(" = ")).count();
    assert!(named >= fields - 2, "{named} named, {fields} in all");
}

#[test]
fn the_sample_names_no_field_that_does_not_exist_and_none_is_missing() {
    let sample = whole_sample();
    parsed(&sample).unwrap();
    let sample: Table = sample.parse().unwrap();
    for (section, fields) in Config::every_field(&crate::sections()) {
        let written = sample.get(section).unwrap_or_else(|| panic!("[{section}] is not in the sample"));
        for field in fields {
            assert!(written.get(field).is_some(), "{field} of [{section}] is not in the sample");
        }
    }
    let (chain, domain) = (&sample["chains"][0], &sample["database"]["domains"]["keys"]);
    for (table, fields) in [
        (domain, fields_of::<Elsewhere>()),
        (chain, fields_of::<Chain>()),
        (&chain["contracts"][0], fields_of::<Contract>()),
        (&chain["hooks"][0], fields_of::<Hook>()),
    ] {
        assert!(!fields.is_empty());
        for field in fields {
            assert!(table.get(field).is_some(), "{field} of a chain or a database is not in the sample");
        }
    }
}

#[test]
fn unknown_fields_are_refused_wherever_they_stand() {
    for section in ["mailbox", "gateway", "limits", "sign_up", "assets", "media", "tokens", "nats", "communities"] {
        let error = parsed(&format!("[{section}]\nno_such_field = 1\n")).unwrap_err();
        assert!(error.contains("no_such_field") && error.contains(section), "{error}");
    }
    let chain = "[[chains]]\nid = 1\nrpc = [\"http://x\"]\nno_such_field = 1\n";
    assert!(parsed(chain).unwrap_err().contains("no_such_field"));
}

#[test]
fn senseless_values_are_refused_with_the_name_of_the_field() {
    for (text, field) in [
        ("[mailbox]\nmessages_max = 0", "mailbox.messages_max"),
        ("[gateway]\nbatch_max = 5000", "gateway.batch_max"),
        ("[gateway]\nframes_per_second = 0", "gateway.frames_per_second"),
        ("[gateway]\nbarred_s = 0", "gateway.barred_s"),
        ("[mailbox]\ngrace_ms = 10", "mailbox.grace_ms"),
        ("[mailbox]\nrequests_percent = 101", "mailbox.requests_percent"),
        ("[mailbox]\ncrowded_percent = 90", "mailbox.crowded_percent"),
        ("[mailbox]\nbytes_per_pair_per_day = 4000", "mailbox.bytes_per_pair_per_day"),
        ("[assets]\nipfs_gateway = \"ipfs.example.org\"", "assets.ipfs_gateway"),
        ("[assets]\nipfs_gateway = \"https://user@ipfs.example.org\"", "assets.ipfs_gateway"),
        ("[assets]\narweave_gateway = \"ftp://ar.example.org\"", "assets.arweave_gateway"),
        ("[assets]\nmetadata_bytes_max = 10", "assets.metadata_bytes_max"),
        ("[assets]\nimage_cache_bytes_max = 1000", "assets.image_bytes_max"),
        ("[media]\nfolder = \"\"", "media.folder"),
        ("[media]\nfile_bytes_max = 10", "media.file_bytes_max"),
        ("[media]\nbytes_per_account_max = 2048", "media.file_bytes_max"),
        ("[media]\naddress_ttl_s = 0", "media.address_ttl_s"),
        ("[media]\ns3_endpoint = \"s3.example.org\"", "media.s3_endpoint"),
        ("[media]\ns3_endpoint = \"https://s3.example.org\"", "media.s3_bucket"),
        ("[gateway]\nsockets_max = 50_000", "gateway.sockets_max"),
        ("[tokens]\naccess_ttl_s = 0", "tokens.refresh_ttl_s"),
        ("[limits]\nrequest_messages = \"many\"", "limits.request_messages"),
        ("[sign_up]\nproof = \"balance\"", "sign_up.chain"),
        ("[communities]\nchannels_max = 0", "communities.channels_max"),
        ("[communities]\nroles_max = 501", "communities.roles_max"),
        ("[communities]\noverrides_per_channel_max = 0", "communities.overrides_per_channel_max"),
        ("[communities]\nmembers_max = 0", "communities.members_max"),
        ("[communities]\ninvite_expires_after_s_max = 59", "communities.invite_expires_after_s_max"),
        ("[communities]\nrestorable_for_s = 31_536_001", "communities.restorable_for_s"),
        ("[communities]\naudit_kept_s = 0", "communities.audit_kept_s"),
        ("[channels]\nstream_age_s = 60", "channels.stream_age_s"),
        ("[channels]\nstream_bytes_max = 0", "channels.stream_bytes_max"),
        ("[channels]\ntext_bytes_max = 40_000", "channels.text_bytes_max"),
        ("[channels]\nfollowed_max = 101", "channels.followed_max"),
        ("[channels]\npins_max = 0", "channels.pins_max"),
        ("[[chains]]\nid = 0\nrpc = [\"http://x\"]", "chains.id"),
    ] {
        let error = parsed(text).unwrap_err();
        assert!(error.contains(field), "{text}: {error}");
    }
}

#[test]
fn every_declared_consumer_has_one_worker_and_every_worker_its_consumer() {
    let queues: Vec<&str> = crate::all().iter().flat_map(|domain| domain.queues).copied().collect();
    let served: BTreeSet<String> = queues.iter().map(|queue| (*queue).to_owned()).collect();
    assert_eq!(served.len(), queues.len(), "a name stands there twice: {queues:?}");
    // these keep their own places and have no durable consumers
    let declared = nats::declared_consumers().unwrap().into_iter().chain([ROUTER, HISTORY].map(str::to_owned));
    assert_eq!(served, declared.collect());
}

/// The code in a folder beside this crate's manifest and below it, without that of tests, with its place.
fn code_in(folder: &str) -> Vec<(PathBuf, String)> {
    let (mut code, mut left) = (Vec::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)]);
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if name.ends_with("tests") || TESTS_OF_OTHER_NAMES.contains(&name) {
                continue;
            }
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let mut text = std::fs::read_to_string(&path).unwrap();
            text.truncate(text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len()));
            code.push((path, text));
        }
    }
    code
}

#[test]
fn domains_meet_in_the_contract_and_not_in_each_others_folders() {
    let names: BTreeSet<String> = crate::all().iter().map(|domain| domain.name.to_owned()).collect();
    assert!(names.len() > 4, "{names:?}");
    for name in &names {
        for (path, code) in code_in(&format!("src/{name}")) {
            let word = |rest: &str| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
            let named: BTreeSet<String> = code.split("crate::").skip(1).map(word).collect();
            let others: Vec<&String> = names.iter().filter(|other| *other != name && named.contains(*other)).collect();
            let place = path.display();
            assert!(
                others.is_empty(),
                "{place} reaches into {others:?}: what they ask each other belongs to proto/src/svc"
            );
        }
    }
}

/// Refusals and events are written with [`nepto_kit::db::Transaction`], which knows what was thrown, and loses no event.
#[test]
fn refusals_and_events_are_written_in_one_way() {
    let found = code_in("src");
    let used = |word: &str| found.iter().map(|(_, text)| text.matches(word).count()).sum::<usize>();
    assert!(used(".refuse_if(") > 10 && used(".stale_if(") > 2 && used(".emit(") > 8, "the test reads them");
    for (path, code) in &found {
        for by_hand in ["THROW '", "THROW \"", "THROW $", "THROW {", "INTO outbox", "CREATE outbox", "UPSERT outbox"] {
            assert!(!code.contains(by_hand), "{by_hand} in {}: see nepto_kit::db::Transaction", path.display());
        }
    }
}
