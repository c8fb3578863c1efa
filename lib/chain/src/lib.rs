//! What Nepto knows of EVM chains. No domain words.

pub mod signature;
