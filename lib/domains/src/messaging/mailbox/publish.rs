//! What the stream of a mailbox refuses, in our words.

use nepto_kit::batch::BatchError;

/// Error codes of the NATS server (`errors.json`).
mod err_code {
    /// There is a message where none was expected; which sequence it has, the server says or does not say.
    pub const WRONG_LAST_SEQUENCE: u64 = 10_071;
    pub const WRONG_LAST_SEQUENCE_CONSTANT: u64 = 10_164;
    /// The stream refused to store. The server has one code for many reasons; a full mailbox is told by its words.
    pub const STORE_FAILED: u64 = 10_077;
    /// Those words (`store.go`, `ErrMaxMsgsPerSubject`).
    pub const MAXIMUM_PER_SUBJECT: &str = "maximum messages per subject exceeded";
    /// An id of the batch was seen before.
    pub const BATCH_CONTAINS_DUPLICATE: u64 = 10_201;
}

/// Why a stream did not take a message, or a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// An id of the batch was seen before.
    Duplicate,
    /// A mailbox is full.
    Full,
    /// There is one already where there may be one only.
    Exists,
    /// Anything else; it may have been stored.
    Other(String),
}

impl From<BatchError> for Refused {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Unreachable(reason) => Self::Other(reason),
            BatchError::Refused { code, description } => match code {
                err_code::STORE_FAILED if description == err_code::MAXIMUM_PER_SUBJECT => Self::Full,
                err_code::BATCH_CONTAINS_DUPLICATE => Self::Duplicate,
                err_code::WRONG_LAST_SEQUENCE | err_code::WRONG_LAST_SEQUENCE_CONSTANT => Self::Exists,
                _ => Self::Other(description),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_refuses_is_told_apart_by_its_code() {
        let refused =
            |code, description: &str| Refused::from(BatchError::Refused { code, description: description.to_owned() });
        assert_eq!(refused(10_071, "wrong last sequence: 5"), Refused::Exists);
        assert_eq!(refused(10_164, "wrong last sequence"), Refused::Exists);
        assert_eq!(refused(10_201, "batch publish contains duplicate message id"), Refused::Duplicate);
        assert_eq!(refused(10_077, "maximum messages per subject exceeded"), Refused::Full);
        assert_eq!(refused(10_077, "maximum bytes exceeded"), Refused::Other("maximum bytes exceeded".to_owned()));
        assert_eq!(Refused::from(BatchError::Unreachable("gone".to_owned())), Refused::Other("gone".to_owned()));
    }
}
