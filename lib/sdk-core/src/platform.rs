//! What threads ask of types, where there are threads. On wasm a client lives on one, and what JavaScript gives it can't move.

#[cfg(not(target_family = "wasm"))]
mod bounds {
    /// `Send`, and nothing at all on wasm.
    pub trait SendOutsideWasm: Send {}
    impl<T: Send + ?Sized> SendOutsideWasm for T {}

    /// `Sync`, and nothing at all on wasm.
    pub trait SyncOutsideWasm: Sync {}
    impl<T: Sync + ?Sized> SyncOutsideWasm for T {}
}

#[cfg(target_family = "wasm")]
mod bounds {
    /// `Send`, and nothing at all on wasm.
    pub trait SendOutsideWasm {}
    impl<T: ?Sized> SendOutsideWasm for T {}

    /// `Sync`, and nothing at all on wasm.
    pub trait SyncOutsideWasm {}
    impl<T: ?Sized> SyncOutsideWasm for T {}
}

pub use bounds::{SendOutsideWasm, SyncOutsideWasm};
