//! Images on the disk, never more bytes than are allowed.
//!
//! The folder is all there is to know: a file's name is the digest of where the image came from, its time of change when it
//! was used last. So a process that is killed leaves nothing to mend, and several may share a folder. A file appears under
//! its name only when it is whole and on the disk.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use alloy_primitives::hex;
use nepto_kit::clock::{Clock, Random};
use sha2::{Digest, Sha256};

use super::image::ImageKind;

/// Before the image: what the file is, the digest of the image, and when it was fetched.
const MARK: &[u8; 8] = b"nepto-1\n";
const HEAD_BYTES: usize = 48;
/// When it is full, so much of it is kept: looking through the folder takes time.
const KEPT_PERCENT: u64 = 90;
/// A file that was begun so long ago will not be finished.
const ABANDONED_AFTER: Duration = Duration::from_secs(3_600);
/// Begins the names of files that are being written.
const UNFINISHED: &str = "unfinished-";

/// Where an image came from, as its file is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageKey([u8; 32]);

impl ImageKey {
    pub fn of(uri: &str) -> Self {
        Self(Sha256::digest(uri).into())
    }

    fn file_name(self) -> String {
        hex::encode(self.0)
    }
}

/// An image, open for reading from its beginning.
#[derive(Debug)]
pub struct Cached {
    pub file: File,
    pub kind: ImageKind,
    pub bytes: u64,
    /// SHA-256 of the image, hexadecimal.
    pub digest: String,
    pub fetched_at_ms: i64,
}

/// Images in a folder that has a bound; the least recently used go first.
#[derive(Clone)]
pub struct Cache {
    folder: Arc<Path>,
    bytes_max: u64,
    clock: Clock,
    random: Random,
    /// Bytes in the folder, as far as known. Whoever writes holds it.
    bytes: Arc<Mutex<u64>>,
}

impl Cache {
    /// Opens a folder, or makes it.
    pub fn open(folder: &Path, bytes_max: u64, clock: Clock, random: Random) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let cache = Self { folder: folder.into(), bytes_max, clock, random, bytes: Arc::default() };
        *cache.lock() = cache.sweep(bytes_max)?;
        Ok(cache)
    }

    /// Looks an image up and notes that it was used.
    pub fn get(&self, key: ImageKey) -> io::Result<Option<Cached>> {
        let path = self.path(key);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match read_head(file)? {
            Some(cached) => {
                cached.file.set_modified(self.now())?;
                Ok(Some(cached))
            }
            None => {
                tracing::warn!(file = %path.display(), "not an image of this cache; it is removed");
                fs::remove_file(&path)?;
                Ok(None)
            }
        }
    }

    /// Keeps an image, in place of what was there.
    pub fn put(&self, key: ImageKey, image: &[u8]) -> io::Result<()> {
        let size = (HEAD_BYTES + image.len()) as u64;
        if size > self.bytes_max {
            return Err(io::Error::other("the image is larger than the cache"));
        }
        let mut bytes = self.lock();
        if *bytes + size > self.bytes_max {
            *bytes = self.sweep((self.bytes_max / 100 * KEPT_PERCENT).min(self.bytes_max - size))?;
        }
        let unfinished = self.folder.join(format!("{UNFINISHED}{}", self.random.alphanumeric(20)));
        let written = self.write(&unfinished, image).and_then(|()| fs::rename(&unfinished, self.path(key)));
        if written.is_err() {
            // what can't be written may still be removed
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        *bytes += size;
        metrics::gauge!("nepto_image_cache_bytes").set(*bytes as f64);
        Ok(())
    }

    fn write(&self, path: &Path, image: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(MARK)?;
        file.write_all(&Sha256::digest(image))?;
        file.write_all(&self.clock.now_ms().to_be_bytes())?;
        file.write_all(image)?;
        file.set_modified(self.now())?;
        file.sync_all()
    }

    /// Removes what was used least recently until no more than this is left, and what was never finished. Returns what is
    /// left.
    fn sweep(&self, bytes_max: u64) -> io::Result<u64> {
        let now = self.now();
        let mut images: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // another process may have removed it
            let Ok(metadata) = entry.metadata() else { continue };
            let used = metadata.modified()?;
            if name.starts_with(UNFINISHED) {
                if now.duration_since(used).is_ok_and(|age| age > ABANDONED_AFTER) {
                    remove(&entry.path())?;
                }
            } else if is_image_name(name) {
                images.push((used, metadata.len(), entry.path()));
            }
        }
        let mut left: u64 = images.iter().map(|(_, size, _)| size).sum();
        images.sort_unstable();
        for (_, size, path) in images {
            if left <= bytes_max {
                break;
            }
            remove(&path)?;
            left -= size;
        }
        metrics::gauge!("nepto_image_cache_bytes").set(left as f64);
        Ok(left)
    }

    fn path(&self, key: ImageKey) -> PathBuf {
        self.folder.join(key.file_name())
    }

    fn now(&self) -> SystemTime {
        self.clock.now().into()
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of the images in a folder, which are those of their files. Where there is no folder, there are none.
pub fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok().filter(|name| is_image_name(name)));
    }
    Ok(names)
}

/// Removes a file, if nobody else did.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a file of this name is an image.
pub fn is_image_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether the contents of a file are an image with what stands before it.
pub fn is_image_file(contents: &[u8]) -> bool {
    contents.split_at_checked(HEAD_BYTES).is_some_and(|(before, image)| {
        before.starts_with(MARK) && ImageKind::of(&image[..image.len().min(ImageKind::HEAD_BYTES)]).is_some()
    })
}

/// Reads what stands before an image; `None` if it is no file of ours.
fn read_head(mut file: File) -> io::Result<Option<Cached>> {
    let mut head = Vec::new();
    (&file).take((HEAD_BYTES + ImageKind::HEAD_BYTES) as u64).read_to_end(&mut head)?;
    let Some((before, image)) = head.split_at_checked(HEAD_BYTES) else { return Ok(None) };
    let (Some(kind), Some(rest)) = (ImageKind::of(image), before.strip_prefix(MARK)) else { return Ok(None) };
    let (digest, fetched_at) = rest.split_at(32);
    let fetched_at_ms = i64::from_be_bytes(fetched_at.try_into().unwrap_or_default());
    file.seek(SeekFrom::Start(HEAD_BYTES as u64))?;
    let bytes = file.metadata()?.len() - HEAD_BYTES as u64;
    Ok(Some(Cached { file, kind, bytes, digest: hex::encode(digest), fetched_at_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_kit::clock::from_ms;
    use tempfile::TempDir;

    const HEAD: &[u8] = b"GIF89a";
    const SIZE: usize = 1_000;

    struct World {
        folder: TempDir,
        clock: Clock,
    }

    impl World {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), clock: Clock::manual(from_ms(1_700_000_000_000)) }
        }

        /// Room for so many images.
        fn cache(&self, images: u64) -> Cache {
            let bytes = images * SIZE as u64;
            Cache::open(&self.folder.path().join("images"), bytes, self.clock.clone(), Random::default()).unwrap()
        }

        fn later(&self) {
            self.clock.advance(Duration::from_secs(1));
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(self.folder.path().join("images")).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }

        fn bytes(&self) -> u64 {
            let entries = fs::read_dir(self.folder.path().join("images")).unwrap();
            entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
        }
    }

    /// An image that takes [`SIZE`] on the disk.
    fn image(number: u8) -> Vec<u8> {
        [HEAD, &vec![number; SIZE - HEAD_BYTES - HEAD.len()]].concat()
    }

    fn key(number: u8) -> ImageKey {
        ImageKey::of(&number.to_string())
    }

    fn content(cache: &Cache, number: u8) -> Option<Vec<u8>> {
        let mut cached = cache.get(key(number)).unwrap()?;
        let mut content = Vec::new();
        cached.file.read_to_end(&mut content).unwrap();
        assert_eq!((content.len() as u64, cached.kind), (cached.bytes, ImageKind::Gif));
        assert_eq!(cached.digest, hex::encode(Sha256::digest(&content)));
        Some(content)
    }

    #[test]
    fn an_image_comes_back_as_it_was() {
        let world = World::new();
        let cache = world.cache(10);
        assert_eq!(content(&cache, 1), None);
        cache.put(key(1), &image(1)).unwrap();
        cache.put(key(2), &image(2)).unwrap();
        assert_eq!(content(&cache, 1), Some(image(1)));
        cache.put(key(1), &image(3)).unwrap();
        assert_eq!(content(&cache, 1), Some(image(3)));
        assert_eq!(cache.get(key(1)).unwrap().unwrap().fetched_at_ms, world.clock.now_ms());
        // another process finds the same
        assert_eq!(content(&world.cache(10), 2), Some(image(2)));
    }

    #[test]
    fn what_was_used_least_recently_makes_room_and_the_bound_holds() {
        let world = World::new();
        let cache = world.cache(10);
        for number in 0..10 {
            cache.put(key(number), &image(number)).unwrap();
            world.later();
        }
        // the oldest is used once more
        assert!(content(&cache, 0).is_some());
        for number in 10..13 {
            world.later();
            cache.put(key(number), &image(number)).unwrap();
            assert!(world.bytes() <= 10 * SIZE as u64, "{}", world.bytes());
        }
        let left: Vec<u8> = (0..13).filter(|number| content(&cache, *number).is_some()).collect();
        assert_eq!(left, [0, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        cache.put(key(99), &vec![0; 10 * SIZE]).unwrap_err();
        // a smaller bound holds from the start
        drop(cache);
        assert_eq!(world.cache(3).lock().to_owned(), 3 * SIZE as u64);
        assert_eq!(world.files().len(), 3);
    }

    #[test]
    fn what_a_killed_process_left_is_no_image_and_goes() {
        let world = World::new();
        let cache = world.cache(10);
        cache.put(key(1), &image(1)).unwrap();
        let unfinished = world.folder.path().join("images").join(format!("{UNFINISHED}abc"));
        fs::write(&unfinished, b"GIF89a and no more").unwrap();
        File::open(&unfinished).unwrap().set_modified(world.clock.now().into()).unwrap();
        world.cache(10);
        assert!(unfinished.exists(), "somebody may be writing it");
        world.clock.advance(ABANDONED_AFTER + Duration::from_secs(1));
        world.cache(10);
        assert_eq!(world.files(), [key(1).file_name()]);
        // cut short, or of somebody else
        for broken in [&b""[..], b"GIF89a", &[MARK, &[0; 40][..], b"<svg/>"].concat()] {
            assert!(!is_image_file(broken));
            fs::write(cache.path(key(2)), broken).unwrap();
            assert!(cache.get(key(2)).unwrap().is_none());
            assert!(!cache.path(key(2)).exists());
        }
        assert_eq!(content(&cache, 1), Some(image(1)));
        assert!(is_image_file(&fs::read(cache.path(key(1))).unwrap()));
    }

    #[test]
    fn what_is_read_stays_until_it_is_read_to_its_end() {
        let world = World::new();
        let cache = world.cache(2);
        cache.put(key(1), &image(1)).unwrap();
        let mut open = cache.get(key(1)).unwrap().unwrap();
        for number in 2..6 {
            world.later();
            cache.put(key(number), &image(number)).unwrap();
        }
        assert!(cache.get(key(1)).unwrap().is_none());
        let mut content = Vec::new();
        open.file.read_to_end(&mut content).unwrap();
        assert_eq!(content, image(1));
    }

    #[test]
    fn writers_beside_each_other_do_not_disturb_readers() {
        let world = World::new();
        let (one, other) = (world.cache(50), world.cache(50));
        std::thread::scope(|scope| {
            for cache in [&one, &other] {
                scope.spawn(move || {
                    for number in 0..40 {
                        cache.put(key(number % 5), &image(number % 5)).unwrap();
                        for number in 0..5 {
                            assert!(content(cache, number).is_none_or(|content| content == image(number)));
                        }
                    }
                });
            }
        });
        assert_eq!(world.files().len(), 5);
    }
}
