//! What to do about an error that ends a process, where the library that found it says only what it found.

/// Words of an error, and what an operator does about it. The first that fits counts.
const KNOWN: [(&[&str], &str); 7] = [
    (
        &["already locked by another process"],
        "Another process has this folder open, and a folder serves one `all`. Stop the other one, or give this one a \
         `database.url` of its own.",
    ),
    (
        &["No space left on device", "no storage space"],
        "The disk is full. Make room (`df -h` says where), then start again: what was begun goes on from its last complete step.",
    ),
    (
        &["certificate: Expired", "CertificateExpired", "certificate expired"],
        "The certificate of the other side has expired, or the clock of this machine is wrong (`timedatectl`). Renew it there; \
         nothing needs to change here.",
    ),
    (
        &["NOAUTH", "WRONGPASS", "Password authentication failed"],
        "Redis wants another password: it stands in `redis.url`, as redis://:PASSWORD@HOST.",
    ),
    (
        &["Authorization Violation", "authorization violation"],
        "NATS wants another user or password: they stand in `nats.url`, as nats://USER:PASSWORD@HOST, or in \
         `nats.credentials_file`.",
    ),
    (
        &["problem with authentication", "Anonymous access not allowed"],
        "The database wants another user or password: see `database.username` and `database.password_file`.",
    ),
    (&["Connection refused"], "Nobody listens there: start it, or correct its address in the configuration."),
];

/// A sentence or two for whoever reads the error; nothing if the error says it all.
pub fn about(error: &str) -> Option<&'static str> {
    let fits = |words: &&str| error.contains(*words);
    KNOWN.iter().find(|(words, _)| words.iter().any(fits)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the programs said it when it was tried.
    #[test]
    fn what_was_seen_is_advised_on() {
        for (error, part) in [
            (
                "the database surrealkv://d can't be opened: Other error: Database at d/LOCK is already locked by another process",
                "serves one `all`",
            ),
            (
                "migration 2 of keys failed: WAL error: IO error: kind=no storage space, message=No space left on device",
                "disk is full",
            ),
            ("NATS at h:4222 can't be reached: IO error: invalid peer certificate: Expired", "has expired"),
            ("Redis at redis://h can't be reached: Password authentication failed - AuthenticationFailed", "redis.url"),
            ("the database ws://h can't be opened: There was a problem with authentication", "password_file"),
            ("auth: Anonymous access not allowed: Not enough permissions to perform this action", "password_file"),
            ("NATS at h:4222 can't be reached: IO error: Connection refused (os error 111)", "Nobody listens"),
        ] {
            assert!(about(error).is_some_and(|advice| advice.contains(part)), "{error}");
        }
        assert_eq!(about("public listener can't listen on 1.2.3.4:80; choose another port in the configuration"), None);
    }
}
