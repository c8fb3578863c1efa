//! The images of tokens in a backup. They are a cache, but whoever showed one may have lost it since. What only has the name of one,
//! and is something else, is neither put into a backup nor into the folder.
//!
//! An image is the name of its file, sixty-four bytes, its length as eight bytes (little-endian), and its bytes.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use nepto_domains::assets::{is_image_file, is_image_name};
use nepto_files::Readers;

const NAME_BYTES: usize = 64;
/// An image is smaller: the server takes none that is larger (`assets.image_bytes_max`).
const IMAGE_BYTES_MAX: u64 = 256 << 20;

/// Hands the images of these names over, one after the other. One that made room for others meanwhile is left out.
pub fn write(folder: &Path, names: &[String], mut put: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for name in names {
        let path = folder.join(name);
        let image = match fs::read(&path) {
            Ok(image) => image,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("the image {} can't be read", path.display())),
        };
        if !is_image_file(&image) {
            continue;
        }
        put(&[name.as_bytes(), &(image.len() as u64).to_le_bytes()[..]].concat())?;
        put(&image)?;
    }
    Ok(())
}

/// Reads images, and says what is wrong with them.
pub fn check(mut source: impl Read) -> anyhow::Result<()> {
    while next(&mut source)?.is_some() {}
    Ok(())
}

/// Puts images into their folder, and leaves those that are there as they are, and whatever else has the name of one. Returns how
/// many were put there.
pub fn restore(folder: &Path, mut source: impl Read) -> anyhow::Result<u64> {
    nepto_files::private_folder(folder)?;
    let mut restored = 0;
    while let Some((name, image)) = next(&mut source)? {
        let path = folder.join(name);
        let is_free = fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if is_free && is_image_file(&image) {
            nepto_files::write(&path, image, Readers::Owner)?;
            restored += 1;
        }
    }
    Ok(restored)
}

fn next(source: &mut impl Read) -> anyhow::Result<Option<(String, Vec<u8>)>> {
    let mut name = Vec::new();
    source.by_ref().take(NAME_BYTES as u64).read_to_end(&mut name)?;
    if name.is_empty() {
        return Ok(None);
    }
    let name = String::from_utf8(name).unwrap_or_default();
    if !is_image_name(&name) {
        bail!("{name:?} is not the name of an image");
    }
    let mut length = [0; 8];
    source.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    ensure!(length <= IMAGE_BYTES_MAX, "an image of {length} bytes is too large");
    let mut image = Vec::new();
    source.by_ref().take(length).read_to_end(&mut image)?;
    ensure!(image.len() as u64 == length, "an image is cut short");
    Ok(Some((name, image)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as the cache keeps it, which ends with this.
    fn image(end: &str) -> Vec<u8> {
        [&b"nepto-1\n"[..], &[0; 40], b"GIF89a", end.as_bytes()].concat()
    }

    /// As a backup has it.
    fn entry(name: &str, contents: &[u8]) -> Vec<u8> {
        [name.as_bytes(), &(contents.len() as u64).to_le_bytes()[..], contents].concat()
    }

    #[test]
    fn images_come_back_and_nothing_leaves_the_folder() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let names = ["a", "b", "c", "d"].map(|letter| letter.repeat(NAME_BYTES));
        fs::write(from.path().join(&names[0]), image("one")).unwrap();
        fs::write(from.path().join(&names[1]), image("two")).unwrap();
        fs::write(from.path().join(&names[3]), "* * * * * root true\n").unwrap();
        let mut written = Vec::new();
        // the third has gone meanwhile, and the fourth is no image
        write(from.path(), &names, |bytes| {
            written.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        fs::write(to.path().join(&names[1]), "a newer one").unwrap();
        assert_eq!(restore(to.path(), &written[..]).unwrap(), 1);
        let read = |name: &str| fs::read(to.path().join(name)).unwrap();
        assert_eq!((read(&names[0]), read(&names[1])), (image("one"), b"a newer one".to_vec()));
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 2);
        check(&written[..]).unwrap();
        restore(to.path(), &written[..written.len() - 1]).unwrap_err();
        check(&written[..written.len() - 1]).unwrap_err();
        let outside = [format!("../{}", "a".repeat(61)).as_bytes(), &3_u64.to_le_bytes()[..], b"bad"].concat();
        assert!(restore(to.path(), &outside[..]).unwrap_err().to_string().contains("not the name of an image"));
        let huge = ["a".repeat(NAME_BYTES).as_bytes(), &u64::MAX.to_le_bytes()[..]].concat();
        assert!(restore(to.path(), &huge[..]).unwrap_err().to_string().contains("too large"));
    }

    #[test]
    fn what_is_no_image_is_not_put_there_and_no_link_is_followed() {
        let [to, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [other, linked] = ["a", "b"].map(|letter| letter.repeat(NAME_BYTES));
        let link = to.path().join(&linked);
        std::os::unix::fs::symlink(elsewhere.path().join("made"), &link).unwrap();
        let backup = [entry(&other, b"* * * * * root true\n"), entry(&linked, &image("one"))].concat();
        // whoever put such a file there by mistake gets the rest back
        check(&backup[..]).unwrap();
        assert_eq!(restore(to.path(), &backup[..]).unwrap(), 0);
        assert!(!to.path().join(&other).exists());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}
