//! Full-text search over messages of channels.
//!
//! What must hold: the index is disposable. It is made of what history has and of the stream of channels behind that, and can be made
//! again; each commit holds the place in the stream up to which it goes, so after a kill it goes on from there, and nothing is missing or
//! twice. Whoever asks names the channels that they may see, and what is found is looked at again before it is shown: the index has
//! no say in who sees what, and keeps no text.
//!
//! `words` and `query` are pure. `writer` is the one that changes the index, for as long as the process lives; `reader` answers. Both
//! block, so they belong on a thread where that is allowed (`spawn_blocking`).

pub mod feed;
mod index;
pub mod query;
mod reader;
#[cfg(test)]
mod tests;
pub mod words;
mod writer;

pub use self::index::{Entry, Limits, SearchError};
pub use self::reader::{Found, Hit, Reader};
pub use self::writer::{Change, Cursor, Stored, Writer, open};
