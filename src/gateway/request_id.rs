//! Who gives requests their ids.

use std::cell::RefCell;

use http::HeaderMap;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{
    model::hex,
    web::{RequestId, headers::X_REQUEST_ID},
};

/// The ids that one worker gives.
#[derive(Debug)]
pub(super) struct RequestIds(RefCell<SmallRng>);

impl RequestIds {
    /// `seed` makes them unlike those of any other worker.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self(RefCell::new(SmallRng::from_seed(seed)))
    }

    /// An id nobody else has. Nothing rests on its being hard to guess.
    pub(super) fn fresh(&self) -> RequestId {
        let mut text = [0; 32];
        for (digits, byte) in text.chunks_exact_mut(2).zip(self.nonce()) {
            digits.copy_from_slice(&hex(byte));
        }
        RequestId::of(text)
    }

    /// Bytes that were not there before, for whoever has to send some.
    pub(super) fn nonce(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.0.borrow_mut().fill_bytes(&mut bytes);
        bytes
    }
}

/// A trusted proxy's own request id, if it is one.
pub(super) fn told(headers: &HeaderMap) -> Option<RequestId> {
    RequestId::told(headers.get(X_REQUEST_ID)?.as_bytes())
}
