use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn key() -> AttachmentKey {
    AttachmentKey::from_bytes([7; 32])
}

/// A file of so many bytes, encrypted, and what a message says of it.
fn encrypted(file: &[u8]) -> (Vec<u8>, Attachment) {
    let mut encryptor = Encryptor::new(&key(), file.len() as u64);
    let mut sealed = encryptor.push(file).unwrap();
    let (mut rest, digest) = encryptor.finish().unwrap();
    sealed.append(&mut rest);
    let attachment = Attachment {
        media: MediaId::new(Uuid::from_u128(1)),
        key: key(),
        digest,
        bytes: file.len() as u64,
        name: "file".to_owned(),
        media_type: String::new(),
    };
    (sealed, attachment)
}

fn decrypted(sealed: &[u8], attachment: &Attachment, pieces: usize) -> Result<Vec<u8>, AttachmentError> {
    let (mut decryptor, mut file) = (Decryptor::new(attachment), Vec::new());
    for piece in sealed.chunks(pieces.max(1)) {
        file.append(&mut decryptor.push(piece)?);
    }
    decryptor.finish().map(|()| file)
}

/// Without its digest, so that the tags alone speak.
fn redigested(sealed: &[u8], attachment: &Attachment) -> Attachment {
    Attachment { digest: Sha256::digest(sealed).into(), ..attachment.clone() }
}

fn some_file(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

#[test]
fn a_file_comes_back_as_it_was_and_its_length_is_the_one_that_is_told() {
    for bytes in [0, 1, 1_023, 1_024, 1_025, PLAIN_BYTES - 1, PLAIN_BYTES, PLAIN_BYTES + 1, 3 * PLAIN_BYTES, 300_000] {
        let file = some_file(bytes);
        let (sealed, attachment) = encrypted(&file);
        assert_eq!(sealed.len() as u64, encrypted_bytes(bytes as u64), "{bytes}");
        assert_eq!(decrypted(&sealed, &attachment, 10_000), Ok(file), "{bytes}");
    }
}

#[test]
fn a_byte_that_is_changed_anywhere_is_noticed() {
    let (sealed, attachment) = encrypted(&some_file(200_000));
    for place in [0, 100, SEGMENT_BYTES - 1, SEGMENT_BYTES, sealed.len() - 1] {
        let mut other = sealed.clone();
        other[place] ^= 1;
        let attachment = redigested(&other, &attachment);
        assert_eq!(decrypted(&other, &attachment, 7_000), Err(AttachmentError::Tampered), "{place}");
    }
    let other = Attachment { digest: [0; 32], ..attachment.clone() };
    assert_eq!(decrypted(&sealed, &other, 7_000), Err(AttachmentError::Other));
    let other = Attachment { key: AttachmentKey::from_bytes([8; 32]), ..attachment };
    assert_eq!(decrypted(&sealed, &other, 7_000), Err(AttachmentError::Tampered));
}

#[test]
fn segments_can_not_be_left_out_moved_or_put_at_the_end() {
    let (sealed, attachment) = encrypted(&some_file(200_000));
    let segments: Vec<&[u8]> = sealed.chunks(SEGMENT_BYTES).collect();
    assert!(segments.len() >= 4);
    let mut swapped = segments.clone();
    swapped.swap(0, 1);
    let mut doubled = segments.clone();
    doubled.insert(1, segments[0]);
    let without_one = [&segments[..1], &segments[2..]].concat();
    for other in [swapped, doubled, without_one] {
        let other = other.concat();
        assert_eq!(decrypted(&other, &redigested(&other, &attachment), 5_000), Err(AttachmentError::Tampered));
    }
    // the end is missing: at a segment, and within one
    for end in [SEGMENT_BYTES * 2, sealed.len() - 1] {
        let other = &sealed[..end];
        assert_eq!(decrypted(other, &redigested(other, &attachment), 5_000), Err(AttachmentError::Length));
    }
    let longer = [&sealed[..], &[0]].concat();
    assert_eq!(decrypted(&longer, &redigested(&longer, &attachment), 5_000), Err(AttachmentError::Length));
    // a shorter file, said by somebody who can't have sealed it: its last segment was not sealed as one
    let shorter = Attachment { bytes: PLAIN_BYTES as u64, ..attachment };
    let first = segments[0];
    assert!(decrypted(first, &redigested(first, &shorter), 5_000).is_err());
}

#[test]
fn a_file_that_changes_while_it_is_read_is_no_file() {
    let mut encryptor = Encryptor::new(&key(), 10);
    encryptor.push(&[1; 9]).unwrap();
    assert_eq!(encryptor.push(&[1; 2]), Err(AttachmentError::Length));
    let encryptor = Encryptor::new(&key(), 10);
    assert_eq!(encryptor.finish().map(drop), Err(AttachmentError::Length));
}

#[test]
fn names_stay_in_their_folder_and_say_what_they_are() {
    for (name, safe) in [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\x.exe", "C__x.exe"),
        (".bashrc", "bashrc"),
        ("..", "file"),
        ("", "file"),
        (" . ", "file"),
        ("a\u{202e}gpj.exe", "a_gpj.exe"),
        ("a\0b\nc", "a_b_c"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("übung 上海.pdf", "übung 上海.pdf"),
    ] {
        assert_eq!(safe_name(name), safe, "{name:?}");
    }
    let long = safe_name(&"上".repeat(200));
    assert!(long.len() <= 200 && long.chars().all(|c| c == '上'));
}

proptest! {
    #[test]
    fn however_it_is_cut_a_file_comes_back(bytes in 0..200_000_usize, put in 1..90_000_usize, got in 1..90_000_usize) {
        let file = some_file(bytes);
        let (whole, attachment) = encrypted(&file);
        let (mut encryptor, mut sealed) = (Encryptor::new(&key(), bytes as u64), Vec::new());
        for piece in file.chunks(put) {
            sealed.append(&mut encryptor.push(piece).unwrap());
        }
        let (mut rest, digest) = encryptor.finish().unwrap();
        sealed.append(&mut rest);
        prop_assert_eq!((&sealed, digest), (&whole, attachment.digest));
        prop_assert_eq!(decrypted(&sealed, &attachment, got), Ok(file));
    }

    #[test]
    fn padding_is_little_and_grows_with_the_file(bytes in 1_025..1_u64 << 40) {
        let padded_to = padded(bytes);
        prop_assert!(padded_to >= bytes && padded_to - bytes <= bytes / 8);
        prop_assert!(padded(bytes - 1) <= padded_to);
        prop_assert_eq!(padded(padded_to), padded_to);
    }

    #[test]
    fn any_name_is_one_part_of_a_path(name in any::<String>()) {
        let safe = safe_name(&name);
        let path = std::path::Path::new(&safe);
        prop_assert_eq!(path.components().count(), 1);
        prop_assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(safe.as_str()));
        prop_assert!(!safe.starts_with('.') && safe.len() <= 201);
    }
}
