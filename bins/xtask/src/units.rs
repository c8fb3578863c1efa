//! The units in `systemd/`, as systemd reads them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// systemd's own measure of what a service may do to its machine, from 0 to 10.
const EXPOSURE_MAX: f64 = 2.0;

fn folder() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this");
    Path::new(&own).join("../../systemd").canonicalize().expect("the units")
}

/// A machine that has the units, and files in place of the programs.
fn machine() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let (units, programs) = (root.path().join("etc/systemd/system"), root.path().join("usr/bin"));
    fs::create_dir_all(&units).unwrap();
    fs::create_dir_all(&programs).unwrap();
    let copied = Command::new("cp").arg("-r").arg(folder().join(".")).arg(&units).status().unwrap();
    assert!(copied.success());
    for program in ["nepto-server", "nats-server", "kill"] {
        fs::copy("/bin/true", programs.join(program)).unwrap();
    }
    root
}

/// Names and texts of the units of a kind; of a template, its instance 8080.
fn units(kind: &str) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == kind));
    let read = |file: PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap().replace("@.", "@8080.");
        (name, fs::read_to_string(file).unwrap())
    };
    files.map(read).collect()
}

fn setting<'a>(unit: &'a str, name: &str) -> Option<&'a str> {
    unit.lines().filter_map(|line| line.split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}

#[test]
fn no_service_may_do_more_than_it_needs() {
    let root = machine();
    let services = units("service");
    assert!(services.len() >= 8, "{services:?}");
    for name in services.keys() {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=yes", "--no-pager", "--root"]).arg(root.path()).arg(name);
        let output = analyze.output().expect("systemd-analyze; Debian's package is systemd");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let level =
            said.lines().last().and_then(|line| line.split("service: ").nth(1)?.split(' ').next()?.parse().ok());
        let level: f64 = level.unwrap_or_else(|| panic!("{name}: {said}{}", String::from_utf8_lossy(&output.stderr)));
        assert!(level <= EXPOSURE_MAX, "{name} has an exposure of {level}\n{said}");
    }
}

#[test]
fn systemd_understands_every_line() {
    let root = machine();
    for name in ["service", "socket", "timer"].into_iter().flat_map(|kind| units(kind).into_keys()) {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["verify", "--recursive-errors=no", "--man=no", "--root"]).arg(root.path()).arg(&name);
        let output = analyze.output().expect("systemd-analyze; Debian's package is systemd");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("nepto"), "{name}: {said}");
    }
}

#[test]
fn every_role_has_its_unit() {
    let services = units("service");
    for role in ["all", "api", "gateway", "worker", "watcher", "cron", "database", "provision", "backup", "restore"] {
        let starts = format!("/usr/bin/nepto-server {role}");
        let has =
            services.values().any(|unit| setting(unit, "ExecStart").is_some_and(|line| line.starts_with(&starts)));
        assert!(has, "no unit runs the role {role}");
    }
}

#[test]
fn a_stopping_process_has_more_time_than_it_takes() {
    let sample = fs::read_to_string(folder().join("../docs/nepto.example.toml")).unwrap();
    let drain_ms: u64 = sample
        .lines()
        .find_map(|line| line.strip_prefix("drain_ms = "))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .expect("node.drain_ms");
    let mut notified = 0;
    for (name, unit) in units("service").iter().filter(|(_, unit)| setting(unit, "Type") == Some("notify")) {
        let stop_s: u64 = setting(unit, "TimeoutStopSec").and_then(|value| value.parse().ok()).expect("seconds");
        assert!(stop_s * 1_000 >= 2 * drain_ms, "{name}");
        assert!(setting(unit, "WatchdogSec").is_some(), "{name}");
        notified += 1;
    }
    assert_eq!(notified, 6);
}

/// Who waits at an open port makes systemd start a process again that could not start: that must not close the port.
#[test]
fn a_start_that_fails_leaves_the_port_open() {
    let source = fs::read_to_string(folder().join("../bins/nepto-server/src/service_manager.rs")).unwrap();
    let failed_start_s: f64 = source
        .split("FAILED_START_MIN: Duration = Duration::from_secs(")
        .nth(1)
        .and_then(|rest| rest.split(')').next()?.parse().ok())
        .expect("how long a start that fails takes");
    let sockets = units("socket");
    assert_eq!(sockets.len(), 3);
    for (name, unit) in &sockets {
        let number = |key| -> f64 { setting(unit, key).and_then(|value| value.parse().ok()).unwrap() };
        let closes_after_s = number("TriggerLimitBurst") * failed_start_s;
        assert!(closes_after_s >= 2.0 * number("TriggerLimitIntervalSec"), "{name}");
    }
    for (name, unit) in units("service").iter().filter(|(_, unit)| setting(unit, "Type") == Some("notify")) {
        assert_eq!(setting(unit, "RestartPreventExitStatus"), Some("2"), "{name}");
        // a unit that is started too often would take its socket with it
        assert_eq!(setting(unit, "StartLimitIntervalSec"), Some("0"), "{name}");
    }
}
