//! The figures of a run, as one JSON object.

use std::process::Command;

use serde::Serialize;

use crate::proc::Cpu;

/// What was measured; `None` where a scenario has no such figure. The names are those of the file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// The commit that was measured, abbreviated.
    pub commit: Option<String>,
    /// Devices that were connected.
    pub conns: u64,
    /// Messages a second that were asked for.
    pub rate: Option<f64>,
    /// Bytes of a ciphertext.
    pub size: Option<u64>,
    /// Messages that were sent in the measured phase.
    pub sent: Option<u64>,
    /// Messages that arrived, each once.
    pub delivered: Option<u64>,
    /// Messages that did not.
    pub lost: Option<u64>,
    /// Arrivals of what had arrived before.
    pub duplicated: Option<u64>,
    /// From the intended time to arrival.
    pub p50_ms: Option<f64>,
    /// From the intended time to arrival.
    pub p95_ms: Option<f64>,
    /// From the intended time to arrival.
    pub p99_ms: Option<f64>,
    /// From the intended time to arrival.
    pub max_ms: Option<f64>,
    /// Arrivals a second.
    pub delivered_per_s: Option<f64>,
    /// Growth of the gateway for each socket.
    pub rss_bytes_per_socket: Option<f64>,
    /// CPU time for a thousand messages.
    pub cpu_ms_per_1000: CpuFigures,
}

/// CPU milliseconds for a thousand messages, by process.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CpuFigures {
    /// All of `nepto-server`.
    pub server: Option<f64>,
    /// The NATS server.
    pub nats: Option<f64>,
    /// The Redis server.
    pub redis: Option<f64>,
    /// The load generator.
    pub load: Option<f64>,
}

impl CpuFigures {
    /// Of this time for so many messages. Only our own where the servers are not ours.
    pub fn new(cpu: Cpu, messages: u64, ours: bool) -> Self {
        let per_1000 = |ms: u64| (messages > 0).then(|| round(ms as f64 * 1_000.0 / messages as f64));
        let server = |ms: u64| per_1000(ms).filter(|_| ours);
        Self { server: server(cpu.server), nats: server(cpu.nats), redis: server(cpu.redis), load: per_1000(cpu.load) }
    }
}

impl Figures {
    /// The median of each figure over several runs.
    pub fn median(runs: &[&Self]) -> Self {
        let whole = |get: fn(&Self) -> Option<u64>| {
            median(runs.iter().filter_map(|run| get(run)).map(|n| n as f64).collect()).map(|n| n.round() as u64)
        };
        let real = |get: fn(&Self) -> Option<f64>| median(runs.iter().filter_map(|run| get(run)).collect()).map(round);
        Self {
            scenario: runs.first().map_or("", |run| run.scenario),
            commit: runs.first().and_then(|run| run.commit.clone()),
            conns: whole(|run| Some(run.conns)).unwrap_or_default(),
            rate: real(|run| run.rate),
            size: whole(|run| run.size),
            sent: whole(|run| run.sent),
            delivered: whole(|run| run.delivered),
            // no run may hide behind the others
            lost: runs.iter().filter_map(|run| run.lost).max(),
            duplicated: runs.iter().filter_map(|run| run.duplicated).max(),
            p50_ms: real(|run| run.p50_ms),
            p95_ms: real(|run| run.p95_ms),
            p99_ms: real(|run| run.p99_ms),
            max_ms: real(|run| run.max_ms),
            delivered_per_s: real(|run| run.delivered_per_s),
            rss_bytes_per_socket: real(|run| run.rss_bytes_per_socket),
            cpu_ms_per_1000: CpuFigures {
                server: real(|run| run.cpu_ms_per_1000.server),
                nats: real(|run| run.cpu_ms_per_1000.nats),
                redis: real(|run| run.cpu_ms_per_1000.redis),
                load: real(|run| run.cpu_ms_per_1000.load),
            },
        }
    }
}

/// To a thousandth.
pub fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// The middle one, or between the two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// The sources that this was built from, if there is a repository here.
pub fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_of_each_figure_but_losses_are_never_hidden() {
        let run = |p50: f64, lost: u64| Figures { p50_ms: Some(p50), lost: Some(lost), ..Figures::default() };
        let (a, b, c) = (run(3.0, 0), run(1.0, 7), run(2.0, 0));
        let median = Figures::median(&[&a, &b, &c]);
        assert_eq!((median.p50_ms, median.lost, median.rate), (Some(2.0), Some(7), None));
        assert_eq!(Figures::median(&[&a, &c]).p50_ms, Some(2.5));
    }

    #[test]
    fn the_file_has_exactly_the_agreed_names() {
        let json = serde_json::to_value(Figures::default()).unwrap();
        let mut names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut agreed = "scenario commit conns rate size sent delivered lost duplicated p50_ms p95_ms p99_ms max_ms \
             delivered_per_s rss_bytes_per_socket cpu_ms_per_1000"
            .split_whitespace()
            .collect::<Vec<_>>();
        agreed.sort_unstable();
        assert_eq!(names, agreed);
        assert!(json["cpu_ms_per_1000"]["server"].is_null());
    }
}
