//! Files of messages: encrypted and uploaded, downloaded and decrypted, each going on where it was cut.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nepto_files::Readers;
use nepto_proto::{AccountId, ErrorCode, MediaId};
use nepto_sdk_core::attachment::{Decryptor, Encryptor, encrypted_bytes, safe_name};
use nepto_sdk_core::model::{Attachment, AttachmentKey, Message, MessageId};

use super::Client;
use crate::SdkError;

/// Sent in one request, with a checksum: what is cut is at most that.
const PIECE_BYTES: usize = 1024 * 1024;
/// Read from a disk at once.
const READ_BYTES: usize = 256 * 1024;
/// Tries without a byte getting further.
const TRIES_MAX: u32 = 8;
/// Before the second try; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Before any further one.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// Files of one name in a folder.
const SAME_NAME_MAX: u32 = 1_000;

/// A file that is removed when nobody needs it any more.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // it may have got another name
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Temporary {
    /// A new one, its owner's alone.
    fn create(path: PathBuf) -> io::Result<(Self, File)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok((Self(path), file))
    }
}

/// A file as it is uploaded.
struct Encrypted {
    /// Of which nobody but this client has the key.
    file: File,
    bytes: u64,
    digest: [u8; 32],
    /// Of the file itself.
    plain_bytes: u64,
    _temporary: Temporary,
}

impl Client {
    /// Encrypts a file and uploads it, for [`Client::send_files`]. `progress` hears how many bytes of how many are there.
    pub async fn upload(&self, path: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Attachment, SdkError> {
        let key = AttachmentKey::random(&self.inner.env);
        let staged = std::env::temp_dir().join(format!("nepto-{}", self.inner.env.uuid().simple()));
        let (from, by) = (path.to_owned(), key.clone());
        let mut encrypted = blocking(move || encrypt(&from, staged, &by)).await?;
        let media = self.inner.http.begin_upload(encrypted.bytes).await?;
        if let Err(error) = self.send_bytes(media, &mut encrypted, &mut progress).await {
            // it would only wait to be forgotten
            let _ = self.inner.http.end_upload(media).await;
            return Err(error);
        }
        let name = path.file_name().map_or_else(|| "file".to_owned(), |name| safe_name(&name.to_string_lossy()));
        let media_type = media_type(&name).to_owned();
        let Encrypted { digest, plain_bytes, .. } = encrypted;
        Ok(Attachment { media, key, digest, bytes: plain_bytes, name, media_type })
    }

    async fn send_bytes(
        &self,
        media: MediaId,
        encrypted: &mut Encrypted,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), SdkError> {
        let (http, mut offset, mut tries) = (&self.inner.http, 0, 0);
        while offset < encrypted.bytes {
            progress(offset, encrypted.bytes);
            let piece = read_at(&mut encrypted.file, offset).map_err(of_machine)?;
            let appended = http.append_to_upload(media, offset, &piece).await;
            let next = match appended {
                Ok(next) => next,
                Err(error) if goes_on(&error) => {
                    self.pause(&mut tries, error).await?;
                    match http.upload_offset(media).await {
                        Ok(next) => next,
                        Err(error) if goes_on(&error) => continue,
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            };
            if next > offset {
                tries = 0;
            }
            offset = next;
        }
        progress(encrypted.bytes, encrypted.bytes);
        Ok(())
    }

    /// Writes a text with files that were uploaded, like [`Client::send_text`]. The text may be empty.
    pub fn send_files(
        &self,
        to: AccountId,
        body: &str,
        attachments: Vec<Attachment>,
        reply_to: Option<MessageId>,
        expire_after_s: Option<u32>,
    ) -> Result<Message, SdkError> {
        let message = self.inner.core().send_files(to, body, attachments, reply_to, expire_after_s)?;
        self.inner.queued.notify_one();
        Ok(message)
    }

    /// Downloads a file of a message into a folder, under the name that its sender gave it as far as that is one, and a number if
    /// there is one of that name. It appears when all of it is there and genuine. `progress` hears how many bytes of how many came.
    pub async fn download(
        &self,
        attachment: &Attachment,
        folder: &Path,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<PathBuf, SdkError> {
        let hidden = folder.join(format!(".nepto-{}.unfinished", self.inner.env.uuid().simple()));
        let (temporary, mut file) = Temporary::create(hidden).map_err(|error| at(folder, &error))?;
        let (mut decryptor, mut came, mut tries) = (Decryptor::new(attachment), 0, 0);
        let bytes = encrypted_bytes(attachment.bytes);
        while came < bytes {
            let before = came;
            let cut = match self.fetch(attachment, &mut decryptor, &mut file, &mut came, &mut progress).await {
                Ok(()) => SdkError::Network("the file ended too early".to_owned()),
                Err(error) => error,
            };
            if came >= bytes {
                break;
            }
            if !goes_on(&cut) {
                return Err(cut);
            }
            if came > before {
                tries = 0;
            }
            self.pause(&mut tries, cut).await?;
        }
        decryptor.finish()?;
        drop(file);
        let (folder, name) = (folder.to_owned(), safe_name(&attachment.name));
        blocking(move || publish(&temporary, &folder, &name)).await
    }

    /// Downloads from where it was cut, as far as it comes.
    async fn fetch(
        &self,
        attachment: &Attachment,
        decryptor: &mut Decryptor,
        file: &mut File,
        came: &mut u64,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), SdkError> {
        let (http, bytes) = (&self.inner.http, encrypted_bytes(attachment.bytes));
        // a new one each time: it is good for minutes
        let address = http.media_address(attachment.media).await?;
        if address.bytes != bytes {
            return Err(nepto_sdk_core::attachment::AttachmentError::Length.into());
        }
        let mut answer = http.content(&address, *came).await?;
        while let Some(piece) = http.next_bytes(&mut answer).await? {
            file.write_all(&decryptor.push(&piece)?).map_err(of_machine)?;
            *came += piece.len() as u64;
            progress(*came, bytes);
        }
        Ok(())
    }

    /// Deletes files that no message names any more from the server.
    pub(super) fn forget_files(&self, files: Vec<Attachment>) {
        let (http, runtime) = (self.inner.http.clone(), tokio::runtime::Handle::try_current());
        if let (false, Ok(runtime)) = (files.is_empty(), runtime) {
            runtime.spawn(async move {
                for file in files {
                    if let Err(error) = http.delete_media(file.media).await {
                        tracing::info!(media = %file.media, %error, "a file is left to expire");
                    }
                }
            });
        }
    }

    /// Waits before another try, or gives up with what went wrong.
    async fn pause(&self, tries: &mut u32, error: SdkError) -> Result<(), SdkError> {
        *tries += 1;
        if *tries >= TRIES_MAX {
            return Err(error);
        }
        let asked = match error {
            SdkError::Server { retry_after: Some(asked), .. } => asked.min(RETRY_MAX),
            _ => Duration::ZERO,
        };
        let backoff = RETRY_FIRST.saturating_mul(1 << (*tries - 1)).min(RETRY_MAX);
        tokio::time::sleep(asked + backoff / 2 + self.inner.env.jitter(backoff / 2)).await;
        Ok(())
    }
}

/// Whether a transfer that met this may go on: where it is must be asked.
fn goes_on(error: &SdkError) -> bool {
    let about_upload = [ErrorCode::UploadBusy, ErrorCode::UploadOffset, ErrorCode::UploadChecksum];
    error.is_temporary()
        || error.code().is_some_and(|code| about_upload.contains(&code) || code == ErrorCode::AddressInvalid)
}

/// Work with files, which blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SdkError> + Send + 'static,
) -> Result<T, SdkError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| SdkError::Internal("work with a file was interrupted"))?
}

/// The file as it is uploaded, beside which nothing of it is kept. What is encrypted must not change while it is sent, which the
/// file itself may.
fn encrypt(path: &Path, staged: PathBuf, key: &AttachmentKey) -> Result<Encrypted, SdkError> {
    let mut file = File::open(path).map_err(|error| at(path, &error))?;
    let about = file.metadata().map_err(|error| at(path, &error))?;
    if !about.is_file() {
        return Err(SdkError::File(format!("{} is no file", path.display())));
    }
    let (temporary, mut to) = Temporary::create(staged).map_err(of_machine)?;
    let mut encryptor = Encryptor::new(key, about.len());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => to.write_all(&encryptor.push(&buffer[..read])?).map_err(of_machine)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(at(path, &error)),
        }
    }
    let (rest, digest) = encryptor.finish()?;
    to.write_all(&rest).map_err(of_machine)?;
    let (bytes, plain_bytes) = (encrypted_bytes(about.len()), about.len());
    Ok(Encrypted { file: to, bytes, digest, plain_bytes, _temporary: temporary })
}

fn read_at(file: &mut File, offset: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut piece = Vec::new();
    file.take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

/// Gives a whole file the first name that nobody has.
fn publish(finished: &Temporary, folder: &Path, name: &str) -> Result<PathBuf, SdkError> {
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem, format!(".{ending}")),
        _ => (name, String::new()),
    };
    for number in 0..SAME_NAME_MAX {
        let path = folder.join(match number {
            0 => name.to_owned(),
            number => format!("{stem} ({number}){ending}"),
        });
        match nepto_files::publish(&finished.0, &path, Readers::Owner) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(of_machine(error)),
        }
    }
    Err(SdkError::File(format!("{} has {SAME_NAME_MAX} files that are called {name}", folder.display())))
}

fn at(path: &Path, error: &io::Error) -> SdkError {
    SdkError::File(format!("{}: {error}", path.display()))
}

fn of_machine(error: io::Error) -> SdkError {
    SdkError::File(error.to_string())
}

/// What a file probably is, for whoever gets it.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("avif") => "image/avif",
        Some("mp4") => "video/mp4",
        Some("webm") => "video/webm",
        Some("mp3") => "audio/mpeg",
        Some("ogg" | "opus") => "audio/ogg",
        Some("pdf") => "application/pdf",
        Some("zip") => "application/zip",
        Some("txt" | "md" | "log") => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let save = |name: &str, text: &str| {
            let (temporary, mut file) = Temporary::create(folder.path().join(".hidden")).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            publish(&temporary, folder.path(), name).unwrap()
        };
        let named = ["a.tar.gz", "a.tar.gz", "a.tar.gz", "plain", "plain"].map(|name| save(name, "x"));
        let names = named.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        assert_eq!(names, ["a.tar.gz", "a.tar (1).gz", "a.tar (2).gz", "plain", "plain (1)"]);
        assert!(!folder.path().join(".hidden").exists());
    }

    #[test]
    fn a_file_is_encrypted_beside_itself_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (path, staged) = (folder.path().join("photo.jpg"), folder.path().join("staged"));
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let key = AttachmentKey::from_bytes([1; 32]);
        let mut encrypted = encrypt(&path, staged.clone(), &key).unwrap();
        assert_eq!(staged.metadata().unwrap().len(), encrypted.bytes);
        assert_eq!(read_at(&mut encrypted.file, 10).unwrap().len() as u64, encrypted.bytes - 10);
        drop(encrypted);
        assert!(!staged.exists());
        assert!(encrypt(folder.path(), staged.clone(), &key).is_err(), "a folder is no file");
        assert!(!staged.exists());
        assert_eq!((media_type("A.JPG"), media_type("x")), ("image/jpeg", "application/octet-stream"));
    }
}
