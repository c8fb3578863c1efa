//! Where servers under test keep their files.

use std::io;
use std::path::Path;

use rustix::fs::statvfs;
use tempfile::TempDir;

/// A file system in memory, where Linux has one (tmpfs).
const IN_MEMORY: &str = "/dev/shm";
/// So much of it must be free: containers may have 64 MB of it, and several tests run at once.
const FREE_BYTES_MIN: u64 = 2 << 30;

/// A new folder, removed when it is dropped.
///
/// It lies in memory if a test runner asks and there is room: our servers sync the disk for each message and each
/// transaction, and tests would wait for that most of the time. What a process has written outlives `kill -9` there as
/// it does on a disk; only the power is different, and no test cuts it. Benches measure disks, so theirs lies on one.
pub fn folder(prefix: &str) -> io::Result<TempDir> {
    let mut folder = tempfile::Builder::new();
    folder.prefix(prefix);
    // https://nexte.st/docs/configuration/env-vars/: set for each test, and for nothing else
    let is_test = std::env::var_os("NEXTEST").is_some();
    match is_test && has_room(Path::new(IN_MEMORY), FREE_BYTES_MIN) {
        true => folder.tempdir_in(IN_MEMORY),
        false => folder.tempdir(),
    }
}

fn has_room(path: &Path, bytes_min: u64) -> bool {
    statvfs(path).is_ok_and(|system| system.f_bavail.saturating_mul(system.f_frsize) >= bytes_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_chosen_by_the_room_that_it_has() {
        let folder = folder("nepto-test-").unwrap();
        assert!(has_room(folder.path(), 1));
        assert!(!has_room(folder.path(), u64::MAX));
        assert!(!has_room(&folder.path().join("nowhere"), 0));
    }
}
