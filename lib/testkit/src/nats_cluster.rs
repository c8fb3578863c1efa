//! Three NATS servers that are one cluster, each configured by the file that is shipped.

use anyhow::{Context, Result};
use async_nats::jetstream::{self, stream};

use crate::{Nats, Port, eventually, seconds};

/// A cluster. Its servers are killed and restarted one by one.
#[derive(Debug)]
pub struct NatsCluster {
    /// In no order.
    pub servers: Vec<Nats>,
    routes: Vec<Port>,
}

impl NatsCluster {
    /// Starts three servers and waits until they store something together.
    pub async fn start() -> Result<Self> {
        let routes = (0..3).map(|_| Port::reserve()).collect::<Result<Vec<_>>>()?;
        let started = routes.iter().map(|own| start(own, &routes));
        let cluster = Self { servers: futures_util::future::try_join_all(started).await?, routes };
        let jetstream = jetstream::new(cluster.servers[0].client().await?);
        let together = eventually(seconds(60), async || {
            let probe = stream::Config { name: "FORMED".into(), num_replicas: 3, ..stream::Config::default() };
            jetstream.create_stream(probe).await?;
            Ok(jetstream.delete_stream("FORMED").await?.success)
        });
        together.await.context("the servers do not become a cluster")?;
        Ok(cluster)
    }

    /// One more server, which nobody was told of.
    pub async fn join(&self) -> Result<Nats> {
        start(&Port::reserve()?, &self.routes).await
    }
}

async fn start(own: &Port, routes: &[Port]) -> Result<Nats> {
    let routes: Vec<_> = routes.iter().map(|port| format!("\"nats://{}\"", port.address())).collect();
    let cluster = format!("cluster {{ name: nepto, listen: \"{}\", routes: [{}] }}", own.address(), routes.join(", "));
    Nats::start_with(&cluster).await
}
