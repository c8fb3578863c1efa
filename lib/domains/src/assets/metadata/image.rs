//! What an image is: told by its first bytes, whatever its server said. Only raster images are taken, which can't run
//! anything; an SVG is a document that may hold scripts, and is refused.

/// A kind of image that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    Png,
    Jpeg,
    Gif,
    Webp,
    Avif,
}

impl ImageKind {
    /// Bytes that tell it.
    pub const HEAD_BYTES: usize = 64;

    /// From the first bytes.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [a, b, c, d, b'f', b't', b'y', b'p', brands @ ..] => {
                // ISO 14496-12: the main brand, a version, and the compatible brands to the end of the box
                let end = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(8).min(brands.len());
                let is_avif = |brand: &[u8]| matches!(brand, b"avif" | b"avis");
                brands[..end]
                    .chunks_exact(4)
                    .enumerate()
                    .any(|(at, brand)| at != 1 && is_avif(brand))
                    .then_some(Self::Avif)
            }
            _ => None,
        }
    }

    /// The media type that it is served with.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Avif => "image/avif",
        }
    }

    /// The end of its file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Gif => "gif",
            Self::Webp => "webp",
            Self::Avif => "avif",
        }
    }
}

/// Whether it may be worth looking at a file of this media type. Stores of files often know none.
pub fn may_be_image(media_type: &str) -> bool {
    let is_image = media_type.starts_with("image/") && !media_type.starts_with("image/svg");
    is_image || matches!(media_type, "application/octet-stream" | "binary/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_bytes_tell() {
        for (head, kind) in [
            (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], Some(ImageKind::Png)),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", Some(ImageKind::Jpeg)),
            (b"GIF89a\x01\0\x01\0", Some(ImageKind::Gif)),
            (b"GIF87a\x01\0\x01\0", Some(ImageKind::Gif)),
            (b"RIFF\x24\0\0\0WEBPVP8 ", Some(ImageKind::Webp)),
            (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", Some(ImageKind::Avif)),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", Some(ImageKind::Avif)),
            // a film, a version that looks like a brand, brands beyond the box, other files
            (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", None),
            (b"\0\0\0\x14ftypheicavifheic", None),
            (b"\0\0\0\x14ftypheic\0\0\0\0heicavif", None),
            (b"\xff\xff\xff\xffftyp", None),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>", None),
            (b"<?xml version=\"1.0\"?><svg/>", None),
            (b"<html><script>alert(1)</script>", None),
            (b" GIF89a", None),
            (b"GIF88a", None),
            (b"RIFF\x24\0\0\0WAVEfmt ", None),
            (b"BM", None),
            (b"", None),
        ] {
            assert_eq!(ImageKind::of(head), kind, "{:?}", String::from_utf8_lossy(head));
        }
        assert!(may_be_image("image/png") && may_be_image("application/octet-stream"));
        assert!(!may_be_image("image/svg+xml") && !may_be_image("text/html") && !may_be_image("video/mp4"));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(head in prop::collection::vec(any::<u8>(), 0..80)) {
            if ImageKind::of(&head).is_some() {
                prop_assert!(head.first() != Some(&b'<'));
            }
            let ftyp = [&[0, 0, 0, head.len() as u8][..], b"ftyp", &head].concat();
            let _ = ImageKind::of(&ftyp);
        }
    }
}
