//! Where a request goes, by its target alone: to an endpoint of ours, to a route, or to the same place over TLS; and what it
//! carries to be recognised by, since the route says where that may stand.

use http::{Method, Request};

use super::{
    Conn, Entry, Failure, Gateway,
    onward::{host_of, upstream_path, upstream_query},
    stages::{Call, Place, Way},
};
use crate::{
    api::Endpoint,
    auth::{Credentials, bearer, carriers},
    proxy::{self, Offer},
    routing::{self, Rule, Target},
    web::RequestBody,
};

impl Gateway {
    /// Which endpoint or route a request is for, and what it carries to be recognised by. Where that may stand depends on
    /// the route, and goes no further than here unless the route says so.
    pub(super) fn place(
        &self,
        request: &mut Request<RequestBody>,
        conn: &Conn,
        entry: &mut Entry,
    ) -> Result<(Place<'_>, Credentials), Failure> {
        refuse_tunnels(request.method())?;
        // Nothing is decided on a target that could be read in two ways.
        let target =
            routing::target_of(request.version(), request.uri(), request.headers()).map_err(Failure::Target)?;
        let must_switch = Offer::is_all_that_is_asked(request);
        if let Some(location) = conn.way_in.elsewhere(&target, request.uri())? {
            return Ok((Place::Elsewhere(location), Credentials::None));
        }

        // Our own endpoints first: no route can take their place.
        if let Some(endpoint) = self.api.endpoint(target.path.as_str()) {
            entry.endpoint = Some(endpoint.label());
            refuse_if(must_switch)?;
            let methods = self.api.methods(target.path.as_str());
            if !methods.split(", ").any(|method| method == request.method().as_str()) {
                return Err(Failure::WrongMethod(methods));
            }
            let (asked, credentials) = match endpoint {
                Endpoint::Authorize => self.asked(request, conn, entry).map(|(rule, found)| (Some(rule), found))?,
                _ => (None, bearer::find(request.headers()).map_err(Failure::Credentials)?),
            };
            return Ok((Place::Ours(Call { endpoint, asked }), credentials));
        }
        let rule = self.rule(&target, request.method(), entry)?;
        refuse_if(must_switch && !rule.websocket)?;
        let found = carriers::find(request.headers(), target.query, &rule.carriers);
        let credentials = found.map_err(Failure::Credentials)?;
        let (path, query) = (upstream_path(&target, rule).map_err(Failure::Target)?, upstream_query(&target, rule));
        let onward = proxy::target(path.as_ref(), query.as_deref(), request.uri()).map_err(Failure::Proxy)?;
        let host = host_of(request, &target);
        let marked = carriers::take_out(request.headers_mut(), &rule.carriers, rule.forward_token);
        let offer = rule.websocket.then(|| Offer::find(request, || self.ids.nonce()));
        let offer = offer.transpose().map_err(Failure::Proxy)?.flatten();
        // A token that can't have come from elsewhere need not be looked for again.
        let is_the_line = !rule.carriers.any() && matches!(credentials, Credentials::Token(_));
        let way = Way {
            rule,
            target: onward,
            host,
            offer: offer.map(|offer| Box::new(offer.marked(marked))),
            keep_authorization: rule.forward_token || !(is_the_line || bearer::holds_a_token(request.headers())),
            keep_urls: rule.forward_token || !self.snapshot.table.has_tokens_in_queries(),
        };
        Ok((Place::Route(way), credentials))
    }

    /// The rule that a request falls under.
    pub(super) fn rule(&self, target: &Target<'_>, method: &Method, entry: &mut Entry) -> Result<&Rule, Failure> {
        let rule = self.snapshot.table.rule_for(target.host_name(), &target.path, method);
        let rule = rule.map_err(|why| Failure::Target(why.into()))?.ok_or(Failure::NoRoute)?;
        entry.route = Some(rule.id);
        Ok(rule)
    }
}

/// These ask for a connection, not for an answer.
pub(super) fn refuse_tunnels(method: &Method) -> Result<(), Failure> {
    refuse_if(matches!(*method, Method::CONNECT | Method::TRACE))
}

fn refuse_if(tunnel: bool) -> Result<(), Failure> {
    if tunnel { Err(Failure::Method) } else { Ok(()) }
}
