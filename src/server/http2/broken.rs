//! Why a connection was ended though its client had not left. The protocol has no answer for most of it, and so no line in
//! the log.

use std::error::Error as _;

use h2::Reason;

/// What was wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Frames that are none, or in no order that there is.
    Protocol,
    /// More bytes than there was a window for.
    FlowControl,
    /// Heads and frames that cost the client little and us more, or requests that are cancelled one after the other.
    Flood,
    /// The client has taken nothing for as long as it may.
    Stalled,
}

impl Broken {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Protocol, Self::FlowControl, Self::Flood, Self::Stalled];

    /// The word for it in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::FlowControl => "flow_control",
            Self::Flood => "flood",
            Self::Stalled => "stalled",
        }
    }

    /// What an error says of the client; nothing where the connection was lost, or the client that ended it.
    pub(super) fn of(error: &hyper::Error) -> Option<Self> {
        let error = error.source()?.downcast_ref::<h2::Error>()?;
        if error.is_io() || error.is_remote() {
            return None;
        }
        Some(match error.reason()? {
            Reason::FLOW_CONTROL_ERROR => Self::FlowControl,
            // The second is what h2 says of a head that goes on far beyond what is read of it.
            Reason::ENHANCE_YOUR_CALM | Reason::COMPRESSION_ERROR => Self::Flood,
            _ => Self::Protocol,
        })
    }
}
