//! Whom a restore becomes that root runs: the account that owns the folders it restores into.
//!
//! Whoever owns a folder can put a link into it, or in its place, at any moment. Root would follow it and write, empty or move what
//! the account can't. As the account itself it gets no further than that account, and what it makes has the right owner.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
#[cfg(not(target_vendor = "apple"))]
use nix::unistd::setgroups;
use nix::unistd::{Gid, Uid, User, setgid, setuid};

/// As many links on the way to a folder as Linux follows.
const LINKS_MAX: usize = 40;

/// Numbers of a user and of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    user: u32,
    group: u32,
}

/// Makes the whole process, if it is root's, one of the account that all these places belong to, for good. It stays root's where
/// nobody but root can change what lies there. What only root can read must have been opened before.
pub fn become_owner<'a>(places: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let Some(account) = common_owner(places)? else { return Ok(()) };
    let user = Uid::from_raw(account.user);
    // the group of the account: that of a folder may be root's
    let known = User::from_uid(user).ok().flatten();
    let (group, name) = match known {
        Some(known) => (known.gid, known.name),
        None => (Gid::from_raw(account.group), account.user.to_string()),
    };
    #[cfg(not(target_vendor = "apple"))]
    let dropped = setgroups(&[]).and_then(|()| setgid(group)).and_then(|()| setuid(user));
    #[cfg(target_vendor = "apple")]
    let dropped = setgid(group).and_then(|()| setuid(user));
    dropped.with_context(|| format!("root can't go on as {name}, who owns the folders: run this as {name}"))?;
    ensure!(!rustix::process::geteuid().is_root(), "this process is still root's: run it as {name}");
    println!("Goes on as {name}, who owns the folders.");
    Ok(())
}

/// Refuses a link at a path. What a restore makes itself is never one.
pub fn refuse_link(path: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            bail!("{} is a symbolic link, which no restore follows: remove it, and run this again", path.display())
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).with_context(|| path.display().to_string()),
        _ => Ok(()),
    }
}

/// Refuses a link at a path that neither root made nor who runs this. A folder may be a link to another disk.
pub fn refuse_link_of_others(path: &Path) -> anyhow::Result<()> {
    let mine = rustix::process::geteuid().as_raw();
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() && ![0, mine].contains(&found.uid()) => {
            bail!("{} is a symbolic link that user {} made: remove it", path.display(), found.uid())
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).with_context(|| path.display().to_string()),
        _ => Ok(()),
    }
}

/// The account that all these places belong to; none if that is root.
fn common_owner<'a>(places: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<Option<Account>> {
    let mut first: Option<(&Path, Option<Account>)> = None;
    for place in places {
        let owner = owner(place).with_context(|| format!("{} can't be looked at", place.display()))?;
        let Some((other, of_other)) = first else {
            first = Some((place, owner));
            continue;
        };
        let [one, two] = [of_other, owner].map(|account| account.map_or(0, |account| account.user));
        ensure!(
            one == two,
            "{} belongs to user {one} and {} to user {two}, and a restore by root goes on as the one who owns the folders: give \
             them to the same user until it has ended, and make those before that are not there. Token keys can be put in \
             their places before it (--files-to writes them out)",
            other.display(),
            place.display()
        );
    }
    Ok(first.and_then(|(_, owner)| owner))
}

/// Who beside root says what lies at a path: the owner of the path itself, or of the nearest folder above it or link on the way.
fn owner(path: &Path) -> io::Result<Option<Account>> {
    // the folder of a file that is named without one
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut ways = vec![std::path::absolute(path)?];
    for _ in 0..=LINKS_MAX {
        let Some(way) = ways.pop() else { return Ok(None) };
        for path in way.ancestors() {
            let found = match fs::symlink_metadata(path) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if found.uid() != 0 {
                return Ok(Some(Account { user: found.uid(), group: found.gid() }));
            }
            if found.is_symlink() {
                ways.push(path.parent().unwrap_or(path).join(fs::read_link(path)?));
            }
        }
    }
    Err(io::Error::other("there are too many symbolic links on the way"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    const SOMEBODY: Account = Account { user: 4_711, group: 4_712 };

    fn give(path: &Path, account: Account) {
        lchown(path, Some(account.user), Some(account.group)).unwrap();
    }

    #[test]
    fn who_can_change_a_place_is_found_through_links_too() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        if !rustix::process::geteuid().is_root() {
            let mine = fs::metadata(root.path()).unwrap().uid();
            assert_eq!(owner(&at("a/b")).unwrap().map(|account| account.user), Some(mine));
            return;
        }
        if owner(root.path()).unwrap().is_some() {
            // somebody else's folder for what is temporary
            return;
        }
        for folder in ["theirs", "roots"] {
            fs::create_dir(at(folder)).unwrap();
        }
        give(&at("theirs"), SOMEBODY);
        symlink(at("roots"), at("theirs/database")).unwrap();
        symlink(at("theirs"), at("link-of-root")).unwrap();
        symlink("link-of-root/database", at("links-of-root")).unwrap();
        symlink(at("theirs/missing"), at("to-nothing")).unwrap();
        for theirs in ["theirs", "theirs/new/folder", "theirs/database", "link-of-root", "links-of-root", "to-nothing"]
        {
            assert_eq!(owner(&at(theirs)).unwrap(), Some(SOMEBODY), "{theirs}");
        }
        for roots in ["roots", "roots/new/folder", "."] {
            assert_eq!(owner(&at(roots)).unwrap(), None, "{roots}");
        }
        symlink("round", at("round")).unwrap();
        owner(&at("round")).unwrap_err();
        let [theirs, roots, new] = ["theirs", "roots", "theirs/new"].map(at);
        assert_eq!(common_owner([theirs.as_path(), &new]).unwrap(), Some(SOMEBODY));
        assert_eq!(common_owner([roots.as_path()]).unwrap(), None);
        let refused = common_owner([theirs.as_path(), &roots]).unwrap_err().to_string();
        assert!(refused.contains("user 4711") && refused.contains("user 0"), "{refused}");
    }

    #[test]
    fn links_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let [folder, link] = ["folder", "link"].map(|name| root.path().join(name));
        fs::create_dir(&folder).unwrap();
        symlink(root.path().join("nothing"), &link).unwrap();
        refuse_link(&folder).unwrap();
        refuse_link(&root.path().join("missing")).unwrap();
        assert!(refuse_link(&link).unwrap_err().to_string().contains("is a symbolic link"));
        refuse_link_of_others(&folder).unwrap();
        refuse_link_of_others(&link).unwrap();
        if rustix::process::geteuid().is_root() {
            give(&link, SOMEBODY);
            assert!(refuse_link_of_others(&link).unwrap_err().to_string().contains("user 4711"));
        }
    }
}
