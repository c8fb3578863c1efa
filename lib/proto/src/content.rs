//! What stands inside a ciphertext, and its padding.

use prost::Message;

use crate::limits::PADDING_BLOCK_BYTES;

pub use generated::*;

/// Files of one message.
pub const ATTACHMENTS_MAX: usize = 10;

#[allow(missing_docs)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/nepto.content.v1.rs"));
}

/// Plaintext that is not padded content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The padding does not end in 0x80 and zeros.
    #[error("the padding of a message is broken")]
    Padding,
    /// The bytes inside the padding are no `Content`.
    #[error("a message's content could not be read: {0}")]
    Decode(#[from] prost::DecodeError),
}

/// Encodes and pads: 0x80 and then zeros up to the next multiple of 160 bytes, so that the length of a ciphertext says
/// little about the text.
pub fn seal(content: &Content) -> Vec<u8> {
    let length = content.encoded_len();
    let mut padded = Vec::with_capacity((length / PADDING_BLOCK_BYTES + 1) * PADDING_BLOCK_BYTES);
    content.encode_raw(&mut padded);
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(PADDING_BLOCK_BYTES), 0);
    padded
}

/// Undoes [`seal`]. Unknown fields are kept out, an unknown kind is a `Content` without a kind.
pub fn open(padded: &[u8]) -> Result<Content, ContentError> {
    let end = padded.iter().rposition(|&byte| byte != 0).ok_or(ContentError::Padding)?;
    if padded[end] != 0x80 {
        return Err(ContentError::Padding);
    }
    Ok(Content::decode(&padded[..end])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(body: String) -> Content {
        Content {
            sent_at_ms: 1,
            kind: Some(content::Kind::Text(Text { body, ..Text::default() })),
            ..Content::default()
        }
    }

    proptest! {
        #[test]
        fn padding_is_undone_and_hides_the_length(body in ".{0,700}") {
            let padded = seal(&text(body.clone()));
            prop_assert_eq!(padded.len() % PADDING_BLOCK_BYTES, 0);
            prop_assert_eq!(open(&padded).unwrap(), text(body));
        }

        #[test]
        fn any_bytes_are_refused_or_read_but_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = open(&bytes);
        }
    }

    #[test]
    fn broken_padding_is_refused() {
        assert_eq!(open(&[]), Err(ContentError::Padding));
        assert_eq!(open(&[0; 160]), Err(ContentError::Padding));
        assert_eq!(open(&[1; 160]), Err(ContentError::Padding));
    }
}
