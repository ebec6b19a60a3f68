//! The sections of a file, one after the other, into the values the rest of wxgate uses. Each section's file here has
//! that section's rules; what two sections have to agree on is checked at the end.

mod across;
mod api;
mod apps;
mod assertion;
mod avatars;
mod http2;
mod identity;
mod internal;
mod limits;
mod listeners;
mod log;
mod redis;
mod rest;
mod routes;
mod server;
mod servers;
mod sessions;
mod tls;
mod upstreams;
mod webhook;

use super::{Config, fields::Fields};

/// Reads a whole file; what is wrong is noted in the walk. None where a part is missing that has no default.
pub(super) fn config(mut root: Fields<'_, '_>) -> Option<Config> {
    let server = server::server(root.section("server"));
    let admin = server::admin(root.section("admin"));
    let internal = internal::internal(root.section("internal"));
    let webhook = webhook::webhook(root.section("webhook"));
    let api = api::api(root.section("api"));
    let wechat = sessions::wechat(root.section("wechat"));
    let sessions = sessions::sessions(root.section("sessions"));
    let apps = apps::apps(&mut root, &sessions);
    let (identity, assertion) = identity::identity(root.section("identity"));
    let limits = limits::limits(root.section("limits"));
    let avatars_given = root.has("avatars");
    let avatars = root.section("avatars");
    let (avatars_line, avatars) = (avatars.line, avatars::avatars(avatars).filter(|_| avatars_given));
    let log = log::log(root.section("log"));
    let upstreams = upstreams::upstreams(&mut root);
    let routes = routes::routes(&mut root);

    across::listeners(root.walk, &server, &admin, internal.as_ref());
    across::apps(root.walk, &apps);
    across::upstreams(root.walk, &upstreams, &routes);
    across::audiences(root.walk, &upstreams, assertion.is_some());
    across::routes(root.walk, &apps, &upstreams, &routes);
    across::pictures(root.walk, avatars_line, avatars.as_ref(), &sessions);
    across::token_headers(root.walk, &identity, assertion.as_ref(), &routes);
    root.finish();

    Some(Config {
        server: server.value,
        admin: admin.value,
        internal: internal.map(|internal| internal.value),
        webhook,
        api,
        apps: apps.into_iter().map(|app| app.value).collect::<Option<_>>()?,
        wechat,
        sessions,
        identity,
        assertion,
        limits,
        avatars,
        log,
        upstreams: upstreams.into_iter().map(|upstream| upstream.value).collect::<Option<_>>()?,
        routes: routes.into_iter().map(|route| route.route).collect(),
    })
}
