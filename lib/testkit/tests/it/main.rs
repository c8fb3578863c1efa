//! Tests of the whole against real servers: one target, a module per topic.

mod nats;
mod redis;
mod server;
