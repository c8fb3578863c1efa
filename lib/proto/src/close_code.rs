//! Why a socket was closed: the codes of WebSocket close frames.

/// Why a gateway closed a socket (RFC 6455, private range, and three registered codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The client said goodbye, or asked for nothing more.
    Normal = 1000,
    /// A WebSocket message larger than a frame may be (RFC 6455, 7.4.1).
    TooLarge = 1009,
    /// The gateway stops; connect again after the time of its `Drain`.
    Restart = 1012,
    /// Not a frame of this protocol. Don't repeat it.
    Malformed = 4400,
    /// No `Hello` in time, or a token that is not valid. Refresh it and connect again.
    Unauthenticated = 4401,
    /// The session was signed out. Sign in again.
    SessionRevoked = 4403,
    /// Nothing was heard for a minute.
    Idle = 4408,
    /// The same device reconnected. Don't reconnect by yourself.
    Superseded = 4409,
    /// The client does not read what it is sent. Connect again and resume.
    SlowReader = 4410,
    /// Too many bad requests on one connection.
    Abuse = 4429,
    /// The gateway lost a service that it needs. Connect again.
    Unavailable = 4503,
}

impl CloseCode {
    /// All codes, in the order of the documentation.
    pub const ALL: &'static [Self] = &[
        Self::Normal,
        Self::TooLarge,
        Self::Restart,
        Self::Malformed,
        Self::Unauthenticated,
        Self::SessionRevoked,
        Self::Idle,
        Self::Superseded,
        Self::SlowReader,
        Self::Abuse,
        Self::Unavailable,
    ];

    /// The number on the wire.
    pub const fn get(self) -> u16 {
        self as u16
    }

    /// The reason that goes with it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "bye",
            Self::TooLarge => "too_large",
            Self::Restart => "restart",
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::SessionRevoked => "session_revoked",
            Self::Idle => "idle",
            Self::Superseded => "superseded",
            Self::SlowReader => "slow_reader",
            Self::Abuse => "abuse",
            Self::Unavailable => "unavailable",
        }
    }

    /// The code for a number seen on the wire.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.get() == number)
    }
}
