//! `[internal]` and `[internal.tls]`: where backends ask, and how they have to show who they are. Whoever gets in there reads
//! what no client may, so a place that others could reach is refused without TLS, and any place without proof.

use super::{listeners, server, tls, upstreams};
use crate::config::{
    fields::{At, Fields, quoted},
    sections::{Internal, InternalTls, ListenAt},
};

/// The section, with the line of its `listen`.
pub(super) fn internal(mut fields: Fields<'_, '_>) -> Option<At<Internal>> {
    let given = fields.given();
    let listen = if given {
        let text = fields.required("listen", "\"127.0.0.1:9903\"");
        text.and_then(|text| listeners::place(&mut fields, &text))
    } else {
        // Asked for all the same, so that it is known to be a key.
        fields.text("listen").and(None)
    };
    let default = Internal::new(ListenAt::Tcp(([127, 0, 0, 1], 9903).into()));
    let socket_mode = server::socket_mode(&mut fields, default.socket_mode);
    let hosts = server::hosts(&mut fields);
    let token_given = fields.has("token");
    let token = server::token(&mut fields);
    let data_max_age = fields.duration("data_max_age", default.data_max_age);
    let (tls_given, ca_given) = (fields.has("tls"), given && has_client_ca(&mut fields));
    let tls = tls(fields.section("tls"));
    if given && !token_given && !ca_given {
        let words = "missing; write token = { env = \"NAME\" }, or client_ca in [internal.tls]";
        fields.error(fields.line, "token", words);
    }
    if let Some(At { line, value }) = listen.as_ref().filter(|at| !tls_given && !is_here(&at.value)) {
        let place = quoted(&value.to_string());
        let message =
            format!("{place} may be reached from elsewhere; write [internal.tls], or listen on 127.0.0.1 or unix:");
        fields.error(*line, "listen", message);
    }
    fields.finish();
    let At { line, value: listen } = listen?;
    Some(At { line, value: Internal { listen, socket_mode, hosts, token, data_max_age, tls } })
}

/// Whether only this machine can come there. What systemd has bound is known to nobody here.
fn is_here(place: &ListenAt) -> bool {
    match place {
        ListenAt::Tcp(addr) => addr.ip().is_loopback(),
        ListenAt::Unix(_) => true,
        ListenAt::Systemd(_) => false,
    }
}

/// One that can't be read counts: it has been reported, and a token is not missing as well.
fn has_client_ca(fields: &mut Fields<'_, '_>) -> bool {
    fields.section("tls").has("client_ca")
}

fn tls(mut fields: Fields<'_, '_>) -> Option<InternalTls> {
    let given = fields.given();
    let client_ca = upstreams::pem(&mut fields, "client_ca", "CERTIFICATE");
    let files = if given {
        tls::pair(&mut fields)
    } else {
        // Asked for all the same, so that they are known to be keys.
        let _ = (fields.text("cert"), fields.text("key"));
        None
    };
    fields.finish();
    Some(InternalTls { files: files?, client_ca })
}
