//! Attacks: bytes that must not get through, and what of them did.

use super::{Client, Reply, Seen, TestGateway};

/// What became of an attack.
#[derive(Debug)]
pub struct Attack {
    /// The status and, where the answer is wxgate's own, its machine word: `400 bad_request`.
    pub answer: String,
    pub reply: Option<Reply>,
    /// Every whole request that reached the upstream because of it.
    pub seen: Vec<Seen>,
    /// Bytes that reached the upstream because of it, be they a request or not.
    pub bytes: usize,
}

impl TestGateway {
    /// Sends these bytes on a connection of their own, which stays open until it is known what reached the upstream.
    pub fn attack(&self, bytes: impl AsRef<[u8]>) -> Attack {
        let bytes = bytes.as_ref();
        let method: String = bytes.iter().take_while(|b| b.is_ascii_alphabetic()).map(|b| char::from(*b)).collect();
        let mut client = self.client();
        let mut reply = None;
        let (seen, bytes) = self.reached(|| reply = client.send(bytes).try_reply(&method).ok());
        Attack { answer: reply.as_ref().map_or_else(|| "closed".to_owned(), Reply::verdict), reply, seen, bytes }
    }

    /// What reaches the upstream through `deed`: whole requests, and bytes. An honest request that follows tells when
    /// all of it must have come; it needs an open route at `/public/`.
    pub fn reached(&self, deed: impl FnOnce()) -> (Vec<Seen>, usize) {
        const HONEST: &str = "/public/an-honest-request";
        let (seen_before, bytes_before) = (self.upstream.seen().len(), self.upstream.bytes());
        deed();
        let reply = Client::connect(self.addr()).get(HONEST);
        assert_eq!(reply.status, 200, "{reply:?}");
        let mut seen = self.upstream.seen().split_off(seen_before);
        let bytes = self.upstream.bytes() - bytes_before;
        let honest = seen.iter().position(|request| request.target == HONEST).expect("the honest request came");
        let honest = seen.remove(honest);
        (seen, bytes - honest.head.len())
    }
}

impl Reply {
    /// The status and, where the answer is wxgate's own, its machine word.
    pub fn verdict(&self) -> String {
        let body: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        match body.as_ref().and_then(|body| body["code"].as_str()) {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }
}
