//! Ports that nobody else takes.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket};

/// A port of 127.0.0.1 that stays reserved while this value lives, also between a server's death and its restart.
///
/// A socket is bound to it that never listens. Linux gives such a port to no other process and to no outgoing
/// connection, refuses connections to it, and still lets a server listen that sets `SO_REUSEADDR`, as all of ours do.
#[derive(Debug)]
pub struct Port {
    _reservation: TcpSocket,
    address: SocketAddr,
}

impl Port {
    /// Reserves a port of the system's choice.
    pub fn reserve() -> Result<Self> {
        let reservation = TcpSocket::new_v4().context("no socket")?;
        // Bound without SO_REUSEADDR: fails to meet a port that anybody else has bound.
        reservation.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("no free port")?;
        let address = reservation.local_addr()?;
        reservation.set_reuseaddr(true)?;
        Ok(Self { _reservation: reservation, address })
    }

    /// Where to connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port's number, on the loopback address.
    pub const fn number(&self) -> u16 {
        self.address.port()
    }

    /// Listens on the port from within this process. The listener can be dropped and opened again.
    pub fn listen(&self) -> Result<TcpListener> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address).with_context(|| format!("{} is taken", self.address))?;
        Ok(socket.listen(1024)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn a_reserved_port_refuses_until_somebody_listens_and_can_be_listened_on_again() {
        let port = Port::reserve().unwrap();
        for _ in 0..3 {
            assert!(TcpStream::connect(port.address()).await.is_err());
            let listener = port.listen().unwrap();
            let client = TcpStream::connect(port.address()).await.unwrap();
            let served = listener.accept().await.unwrap();
            drop((listener, served, client));
        }
    }

    #[tokio::test]
    async fn nobody_else_gets_a_reserved_port() {
        let port = Port::reserve().unwrap();
        assert!(TcpSocket::new_v4().unwrap().bind(port.address()).is_err());
        let others: Vec<Port> = (0..200).map(|_| Port::reserve().unwrap()).collect();
        assert!(others.iter().all(|other| other.number() != port.number()));
    }
}
