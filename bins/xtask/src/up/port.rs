//! Whether a port is free, and who has it.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

use super::demo::as_typed;

/// Fails with who has the port and the command that chooses another, which is `typed`, without the program, but for the flag.
pub fn must_be_free(port: u16, flag: &str, typed: &[String]) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let owner = owner(port).unwrap_or_else(|| "another program".into());
            let other = port.checked_add(1).unwrap_or(port - 1);
            bail!("port {port} is in use by {owner}. Choose another: {}", again(typed, flag, other))
        }
        Err(error) => bail!("port {port} can't be used ({error}). Choose another: {}", again(typed, flag, 18080)),
    }
}

/// What was typed, with another value of this flag.
fn again(typed: &[String], flag: &str, port: u16) -> String {
    let mut command = "cargo xtask".to_owned();
    let mut words = typed.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix(flag) {
            // its value is the next word
            Some("") => {
                words.next();
            }
            Some(rest) if rest.starts_with('=') => {}
            _ => command.extend([" ", as_typed(word).as_str()]),
        }
    }
    format!("{command} {flag} {port}")
}

/// The program that listens on a port, as Linux tells it to who may know.
fn owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        fs::read_to_string(table).ok()?.lines().skip(1).find_map(|line| listener_inode(line, port))
    })?;
    let socket = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        if process.file_name().to_str().is_none_or(|name| name.parse::<u32>().is_err()) {
            continue;
        }
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        if descriptors.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == &*socket)) {
            let name = fs::read_to_string(process.path().join("comm")).ok()?;
            return Some(format!("`{}` (process {})", name.trim(), process.file_name().display()));
        }
    }
    None
}

/// The inode in a line of `/proc/net/tcp`, if it is about a socket that listens on the port.
fn listener_inode(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local_port, 16) == Ok(port);
    listens.then(|| fields.get(9).map(|&inode| inode.to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_reported_with_its_owner() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let typed = ["up".to_owned()];
        let refused = must_be_free(port, "--port", &typed).unwrap_err().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        drop(listener);
        must_be_free(port, "--port", &typed).unwrap();
    }

    #[test]
    fn the_command_to_type_instead_has_everything_else_that_was_typed() {
        for (typed, instead) in [
            ("up", "cargo xtask up --port 8081"),
            ("up --port 8080 --demo", "cargo xtask up --demo --port 8081"),
            ("up --port=8080 --data my/data", "cargo xtask up --data my/data --port 8081"),
            ("up --admin-port 1 --data a&b", "cargo xtask up --admin-port 1 --data 'a&b' --port 8081"),
        ] {
            let typed: Vec<String> = typed.split(' ').map(str::to_owned).collect();
            assert_eq!(again(&typed, "--port", 8081), instead);
        }
    }
}
