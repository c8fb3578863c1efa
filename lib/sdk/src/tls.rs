//! The one place that chooses a TLS implementation.

use std::sync::Once;

/// Names the implementation for the process, unless the program did: several may be linked in, and then rustls chooses
/// none by itself.
pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
}
