//! What is said about tokens: strangers describe them, well or badly, and the server tells only what is fit to be told.

mod descriptions;
mod images;
mod world;
