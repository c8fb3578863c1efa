//! No log of what happens inside of a test's own process.

use std::sync::Once;

use tracing::subscriber::{NoSubscriber, set_global_default};

/// Lets nobody listen to spans and events, unless the test installs a subscriber for its thread.
///
/// Where no subscriber was ever set, `tracing` offers each span to the crate `log` with its fields written out, and the database
/// has one for every key that it reads.
pub fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(set_global_default(NoSubscriber::new())));
}
