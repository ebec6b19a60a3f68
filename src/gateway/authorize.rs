//! The question of another proxy: may this request pass, and as whose? Answered by the rule that the request would meet
//! here, and by nothing else, so that it makes no difference which of the two proxies forwards.

use http::Request;

use super::{Conn, Entry, Failure, Gateway, onward::upstream_path, place::refuse_tunnels};
use crate::{
    auth::{Credentials, carriers},
    routing::{Original, Rule},
    web::RequestBody,
};

impl Gateway {
    /// The rule for the request that is asked about, and what that carries to be recognised by: in the headers of the
    /// question, as the proxy received them, and in its own query. From here on the log line is about that request.
    pub(super) fn asked(
        &self,
        question: &Request<RequestBody>,
        conn: &Conn,
        entry: &mut Entry,
    ) -> Result<(&Rule, Credentials), Failure> {
        // Whoever is believed here decides which rule is asked, and by default nobody is.
        if !conn.peer.is_trusted() {
            return Err(Failure::Stranger);
        }
        let original = Original::read(question.headers()).map_err(Failure::Original)?;
        entry.method = Some(original.method.clone());
        entry.target = Some(original.uri.clone());
        refuse_tunnels(&original.method)?;
        let target = original.target().map_err(Failure::Original)?;
        // Our own endpoints are no routes. A proxy that asks about them sends them to the wrong place.
        if self.api.endpoint(target.path.as_str()).is_some() {
            return Err(Failure::NoRoute);
        }
        let rule = self.rule(&target, &original.method, entry)?;
        // What would not be forwarded by us does not pass here either.
        upstream_path(&target, rule).map_err(|why| Failure::Original(why.into()))?;
        let found = carriers::find(question.headers(), target.query, &rule.carriers);
        let credentials = found.map_err(Failure::Credentials)?;
        // The address is the one that the proxy tells; the proxy's own would be one budget for everybody.
        self.within_limits(self.snapshot.limits.enter_from(rule.id, entry.client), rule)?;
        Ok((rule, credentials))
    }
}
