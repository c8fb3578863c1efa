//! What processes cost, from `/proc`: CPU time and memory of ourselves and of the servers that we started.

use std::fs;

use nepto_testkit::resident_bytes;
use rustix::process::{Resource, Rlimit, getpid, getrlimit, setrlimit};

/// Linux reports CPU times in hundredths of a second, whatever its own tick is.
const MS_PER_TICK: u64 = 10;

/// The processes of a run, by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// All of `nepto-server`.
    Server,
    /// The NATS server.
    Nats,
    /// The Redis server.
    Redis,
}

impl Group {
    const fn program(self) -> &'static str {
        match self {
            Self::Server => "nepto-server",
            Self::Nats => "nats-server",
            Self::Redis => "redis-server",
        }
    }
}

/// CPU time used since each process started, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// All of `nepto-server`.
    pub server: u64,
    /// The NATS server.
    pub nats: u64,
    /// The Redis server.
    pub redis: u64,
    /// This process, which makes the load.
    pub load: u64,
}

impl Cpu {
    /// As it is now.
    pub fn now() -> Self {
        let children = children();
        let of = |group: Group| children.iter().filter(|stat| stat.is(group)).map(|stat| stat.cpu_ms).sum();
        let load = Stat::read(own_pid()).map_or(0, |stat| stat.cpu_ms);
        Self { server: of(Group::Server), nats: of(Group::Nats), redis: of(Group::Redis), load }
    }

    /// What was used since then.
    pub const fn since(self, then: Self) -> Self {
        Self {
            server: self.server.saturating_sub(then.server),
            nats: self.nats.saturating_sub(then.nats),
            redis: self.redis.saturating_sub(then.redis),
            load: self.load.saturating_sub(then.load),
        }
    }

    /// The sum of both, part by part.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            server: self.server + other.server,
            nats: self.nats + other.nats,
            redis: self.redis + other.redis,
            load: self.load + other.load,
        }
    }
}

/// Resident bytes of all processes of a group.
pub fn rss_of(group: Group) -> u64 {
    children().iter().filter(|stat| stat.is(group)).filter_map(|stat| resident_bytes(stat.pid)).sum()
}

struct Stat {
    pid: u32,
    name: String,
    parent: u32,
    cpu_ms: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// See proc_pid_stat(5). The name stands in parentheses and may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (pid, rest) = text.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            parent: u32::try_from(number(1)?).ok()?,
            cpu_ms: (number(11)? + number(12)?) * MS_PER_TICK,
        })
    }

    fn is(&self, group: Group) -> bool {
        self.name == group.program()
    }
}

fn children() -> Vec<Stat> {
    let own = own_pid();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(Stat::read).filter(|stat| stat.parent == own).collect()
}

fn own_pid() -> u32 {
    getpid().as_raw_nonzero().get().unsigned_abs()
}

/// Takes as many open files as the system allows; servers that we start inherit it.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // refused only where it is as high already
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// How many files a process may have open.
pub fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = "42 (a) (b) R 7 42 42 0 -1 4194304 100 0 0 0 30 12 0 0 20 0 3 0 100 200 300\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.pid, stat.name.as_str(), stat.parent, stat.cpu_ms), (42, "a) (b", 7, 420));
        assert!(Stat::parse("42 (a) R").is_none());
    }

    #[test]
    fn we_have_memory_and_use_cpu() {
        assert!(resident_bytes(own_pid()).unwrap() > 100_000);
        assert!(resident_bytes(u32::MAX).is_none());
        assert!(open_files_max() > 0);
    }
}
