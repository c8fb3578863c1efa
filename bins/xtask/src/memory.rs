//! Where tests keep their files.

use std::path::Path;

use rustix::fs::statvfs;

/// A file system in memory, where Linux has one (tmpfs).
const IN_MEMORY: &str = "/dev/shm";
/// So much of it must be free: containers may have 64 MB of it, and several tests run at once.
const FREE_BYTES_MIN: u64 = 2 << 30;

/// The folder for temporary files of tests, if there is one in memory with room.
///
/// Our servers, and clients, sync the disk for each message and each transaction, and tests would wait for that most of the
/// time. What a process has written outlives `kill -9` there as it does on a disk; only the power is different, and no test cuts
/// it. Benches measure disks, so theirs lie on one.
pub fn folder() -> Option<&'static Path> {
    Some(Path::new(IN_MEMORY)).filter(|folder| has_room(folder, FREE_BYTES_MIN))
}

fn has_room(path: &Path, bytes_min: u64) -> bool {
    statvfs(path).is_ok_and(|system| system.f_bavail.saturating_mul(system.f_frsize) >= bytes_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_chosen_by_the_room_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        assert!(has_room(folder.path(), 1));
        assert!(!has_room(folder.path(), u64::MAX));
        assert!(!has_room(&folder.path().join("nowhere"), 0));
    }
}
