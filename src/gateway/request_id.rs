//! What a request is called, in the log, for the client and for the upstream.

use std::cell::RefCell;

use bytes::BufMut;
use http::{HeaderMap, HeaderValue};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{
    model::hex,
    web::{HeaderWriter, headers::X_REQUEST_ID},
};

/// The ids that one worker gives.
#[derive(Debug)]
pub(super) struct RequestIds {
    random: RefCell<SmallRng>,
    writer: HeaderWriter,
}

impl RequestIds {
    /// `seed` makes them unlike those of any other worker.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { random: RefCell::new(SmallRng::from_seed(seed)), writer: HeaderWriter::default() }
    }

    /// An id nobody else has: 128 random bits. Nothing rests on its being hard to guess.
    pub(super) fn fresh(&self) -> HeaderValue {
        let mut text = [0; 32];
        for (digits, byte) in text.chunks_exact_mut(2).zip(self.nonce()) {
            digits.copy_from_slice(&hex(byte));
        }
        let value = self.writer.value(|out| out.put_slice(&text));
        value.unwrap_or_else(|| HeaderValue::from_static("-"))
    }

    /// Bytes that were not there before, for whoever has to send some.
    pub(super) fn nonce(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.random.borrow_mut().fill_bytes(&mut bytes);
        bytes
    }
}

/// A trusted proxy's own request id, if it is one: 1 to 64 visible characters.
pub(super) fn told(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(X_REQUEST_ID)?;
    let fits = (1..=64).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    fits.then(|| id.clone())
}
