//! Lies: identity headers in every spelling, tokens that are none, and heads that two parsers would read as two things.

use rand::{RngExt, rngs::SmallRng};

const NAMES: [&str; 8] = [
    "x-wx-openid",
    "x-wx-openid",
    "x-wx-appid",
    "x-wx-unionid",
    "x-wx-source",
    "x-wx-from-openid",
    "x-wx-call-id",
    "x-real-ip",
];

/// What `Connection` may name to have it taken away.
const NAMED: [&str; 6] = [
    "X-WX-OPENID",
    "keep-alive, x-wx-openid",
    "x-wx-source,authorization",
    "host, x-wx-appid",
    "x-forwarded-for, x-request-id",
    "\"x-wx-openid\"",
];

/// Which of these, at random.
pub(super) fn one_of<T: Copy>(rng: &mut SmallRng, many: &[T]) -> T {
    many[rng.random_range(0..many.len())]
}

/// A well-formed header line that lies.
pub(super) fn line(rng: &mut SmallRng) -> String {
    if rng.random_ratio(1, 10) {
        return format!("Connection: {}\r\n", one_of(rng, &NAMED));
    }
    let name = one_of(rng, &NAMES);
    let spelled = name.chars().map(|c| match c {
        '-' if rng.random_ratio(1, 4) => '_',
        c if rng.random() => c.to_ascii_uppercase(),
        c => c,
    });
    let name: String = spelled.collect();
    let value = match rng.random_range(0..6) {
        0 => String::new(),
        1 => "oForged, oForged".to_owned(),
        2 => "  \toForged\t ".to_owned(),
        3 => "wx_client".to_owned(),
        // Somebody who exists.
        _ => format!("oUser-{}", rng.random_range(0..super::CALLERS)),
    };
    format!("{name}:{value}\r\n")
}

/// What stands in `Authorization` instead of a live token, made of one.
pub(super) fn no_token(rng: &mut SmallRng, token: &str) -> Option<String> {
    let cut = rng.random_range(5..token.len());
    Some(match rng.random_range(0..10) {
        0 => return None,
        1 => format!("Bearer {}", &token[..cut]),
        2 => format!("Bearer {token}{}", &token[4..cut]),
        3 => format!("Bearer {}{}{}", &token[..cut], another(token.as_bytes()[cut]), &token[cut + 1..]),
        4 => format!("Bearer {}", token.to_ascii_uppercase()),
        5 => format!("Bearer {token}, Bearer {token}"),
        6 => format!("Bearer {token} {token}"),
        7 => format!("Basic {token}"),
        8 => token.to_owned(),
        _ => "Bearer ".to_owned(),
    })
}

fn another(byte: u8) -> char {
    if byte == b'x' { 'y' } else { 'x' }
}

/// A head that has to be refused with 400, however good its token: somebody might read it otherwise.
pub(super) fn ambiguous(rng: &mut SmallRng, bearer: &str, seq: u64) -> String {
    let start = format!("GET /m/never/{seq}/plain HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: {bearer}\r\n");
    let odd = one_of(
        rng,
        &[
            "X-WX-OPENID : oForged\r\n",
            " X-WX-OPENID: oForged\r\n",
            "X-Other: 1\r\n\tX-WX-OPENID: oForged\r\n",
            "X-WX-OPENID\t: oForged\r\n",
            "X-WX-OPENID: oFor\0ged\r\n",
            "X-Other: 1\nX-WX-OPENID: oForged\r\n",
            "X-Other: 1\rX-WX-OPENID: oForged\r\n",
            "X-WX\u{2010}OPENID: oForged\r\n",
            ": oForged\r\n",
            "X-WX-OPENID\r\n",
            "Host: other.example.com\r\n",
            "Authorization: Bearer wxg_\r\n",
            "Authorization: Basic b2ZvcmdlZDo=\r\n",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ],
    );
    match rng.random_range(0..8) {
        0 => start.replace("/m/never", "/public/../m/never") + "\r\n",
        1 => start.replace("/m/never", "/public/%2e%2E/m/never") + "\r\n",
        2 => start.replace("/m/never", "/public%2f../m/never") + "\r\n",
        3 => start.replace("/m/never", "/public\\m/never") + "\r\n",
        _ => format!("{start}{odd}\r\n"),
    }
}
