//! Small pieces of HTTP that several modules speak: bodies, problems, header names, client addresses, gates, timers, turns.

mod alarm;
mod body;
mod chunks;
pub mod client_ip;
mod decoder;
pub mod endpoints;
mod gate;
mod header_writer;
pub mod headers;
mod inbox;
pub mod json_body;
pub mod own;
mod pieces;
mod problem;
mod refusal;
mod resumed;
mod timer;
mod transfer;
mod yield_once;

pub use alarm::Alarm;
pub use body::{BodyError, BodyProgress, BodySource, BodyWatch, RequestBody};
pub use chunks::Chunks;
pub use client_ip::{Client, Proto, TrustedProxies};
pub use decoder::{Decoder, NoBody};
pub use gate::{Closed, Gate};
pub use header_writer::{HeaderWriter, header_line};
pub use inbox::Inbox;
pub use pieces::write_pieces;
pub use problem::Problem;
pub use refusal::Refusal;
pub use resumed::Resumed;
pub use timer::RequestTimer;
pub use transfer::{Framing, Stopped, Transfer};
pub use yield_once::YieldOnce;
