//! `[server.tls]` and its certificates: which files there are, and whether what is in them can be used.

use std::{path::Path, time::Duration};

use crate::{
    config::{
        fields::{At, Fields, quoted},
        outside::unreadable,
        sections::{CertificateFiles, Tls, TlsVersion},
    },
    model::{Certificate, Secret},
};

const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

/// A client that has not shaken hands by then never will.
const LONGEST_HANDSHAKE: Duration = Duration::from_mins(1);

pub(super) fn tls(mut fields: Fields<'_, '_>) -> Option<Tls> {
    let default = Tls::new(Vec::new());
    let given = fields.given();
    let mut certificates = Vec::new();
    let tables = fields.tables("certificates");
    // The section's own pair comes first. It is needed where there are no others.
    if given && (fields.has("cert") || fields.has("key") || tables.is_empty()) {
        certificates.push(pair(&mut fields));
    } else {
        // Asked for all the same, so that they are known to be keys.
        let _ = (fields.text("cert"), fields.text("key"));
    }
    for At { line, value } in tables {
        let mut item = fields.item("server.tls.certificates", line, value);
        certificates.push(pair(&mut item));
        item.finish();
    }
    let tls = Tls {
        certificates: Vec::new(),
        min_version: fields.choice("min_version", default.min_version, &VERSIONS),
        strict_sni: fields.boolean("strict_sni", default.strict_sni),
        handshake_timeout: fields.duration_up_to("handshake_timeout", default.handshake_timeout, LONGEST_HANDSHAKE),
        max_handshakes: fields.whole("max_handshakes", default.max_handshakes, 1..=100_000),
        tickets: fields.whole("tickets", default.tickets, 0..=4),
        watch: fields.duration_or_zero("watch", default.watch),
    };
    fields.finish();
    if !given {
        return None;
    }
    // A pair that could not be read has been reported.
    Some(Tls { certificates: certificates.into_iter().flatten().collect(), ..tls })
}

/// A certificate and its key, as `cert` and `key` name their files.
pub(super) fn pair(fields: &mut Fields<'_, '_>) -> Option<CertificateFiles> {
    let cert = fields.required("cert", "\"tls/fullchain.pem\"");
    let key = fields.required("key", "\"tls/key.pem\"");
    let (cert, key) = (cert?, key?);
    let chain = file(fields, "cert", &cert);
    let secret = file(fields, "key", &key).map(Secret::new);
    if secret.is_some() && fields.walk.outside.open_to_others(Path::new(key.value)) {
        let advice = format!("{} can be read by others; chmod 600 keeps it to its owner", quoted(key.value));
        fields.warn(key.line, "key", advice);
    }
    match Certificate::parse(&chain?, &secret?) {
        Ok(certificate) => {
            let (cert, key) = (fields.place(&cert).value, fields.place(&key).value);
            Some(CertificateFiles { cert, key, certificate })
        }
        Err(why) => {
            let (at, name) = if why.is_of_the_key() { (key, "key") } else { (cert, "cert") };
            fields.error(at.line, name, format!("{} {why}", quoted(at.value)));
            None
        }
    }
}

fn file(fields: &mut Fields<'_, '_>, key: &str, path: &At<&str>) -> Option<String> {
    match fields.walk.outside.file(Path::new(path.value)) {
        Ok(text) => Some(text),
        Err(error) => {
            fields.error(path.line, key, unreadable(Path::new(path.value), &error));
            None
        }
    }
}
