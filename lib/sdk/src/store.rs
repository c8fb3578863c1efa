//! The store of the core, in one file.

#[cfg(test)]
mod damaged;
pub mod file;

pub use nepto_sdk_core::store::{Store, StoreError, backend, seal};
