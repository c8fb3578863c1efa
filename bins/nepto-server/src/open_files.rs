//! How many files this process may have open. Each connection is one.

use nepto_kit::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside the public listener's connections: the database's tables, NATS, Redis, nodes, fetches, the operator's
/// listener. An embedded database with a hundred thousand accounts holds some two hundred.
const BESIDE_CONNECTIONS: u64 = 1_000;

/// Takes as many as the system allows: what systemd and shells give by themselves, 1,024, is a bound that a process may
/// raise. What is started by this process inherits it.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    // refused only where it is as high already
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Refuses to start where the listener would run out of files before it says that it is full.
pub fn check(config: &Config) -> anyhow::Result<()> {
    enough(config, getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

fn enough(config: &Config, allowed: u64) -> anyhow::Result<()> {
    let connections = config.http.connections_max as u64;
    let needed = connections.saturating_add(BESIDE_CONNECTIONS);
    anyhow::ensure!(
        needed <= allowed,
        "http.connections_max = {connections} needs {needed} open files, and this process may have {allowed}: raise the hard \
         limit (LimitNOFILE={needed} of the systemd unit, --ulimit nofile={needed} of the container, `ulimit -Hn`), or lower \
         http.connections_max and gateway.sockets_max to {} at most",
        allowed.saturating_sub(BESIDE_CONNECTIONS)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_open_files_are_told_with_what_to_do() {
        let config = Config::default();
        let needed = config.http.connections_max as u64 + BESIDE_CONNECTIONS;
        enough(&config, needed).unwrap();
        let error = enough(&config, needed - 1).unwrap_err().to_string();
        for part in ["http.connections_max", "LimitNOFILE=19000", "17999 at most"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
