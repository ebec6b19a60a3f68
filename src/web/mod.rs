//! Small pieces of HTTP that several modules speak: bodies, problems, header names, client addresses.

mod body;
mod header_writer;
mod refusal;
mod timer;

pub use body::{BodyError, BodyProgress, BodyWatch, RequestBody};
pub use header_writer::HeaderWriter;
pub use refusal::Refusal;
pub use timer::{Elapsed, RequestTimer};
