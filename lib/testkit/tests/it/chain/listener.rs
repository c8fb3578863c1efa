//! Who hears an event as another domain would.

use std::marker::PhantomData;

use anyhow::Result;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures_util::TryStreamExt;
use nepto_proto::event::Event;
use nepto_proto::subject::EVENTS_STREAM;
use nepto_testkit::{Nats, seconds};

/// Seconds until nothing more is expected.
const SILENCE_MAX: usize = 20;

/// Hears every event of a kind from now on.
pub struct Listener<E> {
    consumer: PullConsumer,
    heard: PhantomData<E>,
}

impl<E: Event> Listener<E> {
    pub async fn start(nats: &Nats) -> Result<Self> {
        let wants = pull::Config {
            durable_name: Some("listener".into()),
            filter_subject: E::subject(),
            ..pull::Config::default()
        };
        let consumer = nats.jetstream().await?.create_consumer_on_stream(wants, EVENTS_STREAM).await?;
        Ok(Self { consumer, heard: PhantomData })
    }

    /// What is told until nothing comes for a second, and at least so much.
    pub async fn received(&self, count: usize) -> Result<Vec<E>> {
        let (mut received, mut silent) = (Vec::new(), 0);
        loop {
            let messages = self.consumer.fetch().max_messages(500).expires(seconds(1)).messages().await?;
            let messages: Vec<_> = messages.map_err(|error| anyhow::anyhow!(error)).try_collect().await?;
            silent = if messages.is_empty() { silent + 1 } else { 0 };
            if silent > 0 && received.len() >= count {
                return Ok(received);
            }
            anyhow::ensure!(silent < SILENCE_MAX, "{} of {count} were told", received.len());
            for message in messages {
                received.push(serde_json::from_slice(&message.payload)?);
                message.ack().await.map_err(|error| anyhow::anyhow!(error))?;
            }
        }
    }
}
