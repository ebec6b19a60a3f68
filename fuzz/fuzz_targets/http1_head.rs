//! No head of HTTP/1.1 means two things: what reaches an upstream is what the client's lines say, without what belongs to
//! the connection or is listed in `Connection`, and with what wxgate tells; and it is told of the one whose session it is.
//!
//! Input: a request line and header lines, between which a carriage return is put. `$` stands for Alice's session token and `^`
//! for Bob's. It goes through a whole gateway, and what is judged is the bytes that an upstream gets.

#![no_main]

mod place;

use std::{
    io::{self, BufReader, Read, Write},
    net::TcpStream,
    sync::{LazyLock, Mutex},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Uri, Version, header::HOST};
use libfuzzer_sys::fuzz_target;
use place::{Head, OF_A_CONNECTION, Place, folded, latin1, read_head, tells_the_way};
use wxgate::{
    routing::{strip_prefix, target_of},
    simulator::{Options, Simulator},
};

const APP: &str = "wx4f4bc4dec97d474b";

/// What every token begins with.
const PREFIX: &str = "wxg_";

/// The first segment of a path says which of them it is.
const ROUTES: &str = r#"
[sessions]
idle = "365d"
lifetime = "365d"
[[routes]]
path = "/"
upstream = "app"
auth = "none"
[[routes]]
path = "/mine"
upstream = "app"
auth = "required"
[[routes]]
path = "/maybe"
upstream = "app"
auth = "optional"
[[routes]]
path = "/cut"
upstream = "app"
auth = "none"
strip_prefix = true
allow_encoded_slash = true
allow_semicolon = true
[[routes]]
path = "/carried"
upstream = "app"
auth = "optional"
token_header = "X-Session-Token"
token_query = "token"
token_subprotocol = true
websocket = true
"#;

struct World {
    place: Place,
    /// Who is logged in: openid and token.
    users: [(&'static str, String); 2],
    _wechat: Mutex<Simulator>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let wechat = Options::on_free_port().with_app(APP, &"secret".repeat(8));
    let wechat = Simulator::start(wechat).expect("a stand-in");
    let place = Place::new(&format!("api_base = \"{}\"", wechat.api_base()), ROUTES);
    let users = ["oAlice", "oBob"].map(|openid| {
        let code = wechat.make_code(APP, openid).expect("a code");
        (openid, login(&place, &code).expect("a login"))
    });
    World { place, users, _wechat: Mutex::new(wechat) }
});

/// The connection that the last request has left open.
static KEPT: Mutex<Option<BufReader<TcpStream>>> = Mutex::new(None);

fuzz_target!(|input: &[u8]| {
    let [(_, alice), (_, bob)] = &WORLD.users;
    let text = latin1(input).replace('$', alice).replace('^', bob);
    let Some(sent) = Sent::read(&text) else { return };
    let meant = sent.meaning();
    // A logout would be the end of a session.
    if meant.as_ref().is_some_and(|meant| meant.path.starts_with("/v1/")) {
        return;
    }
    let Some(body) = sent.body() else { return };
    let answer = ask(&sent.bytes(&body), &sent);
    match (answer, &WORLD.place.heads()[..]) {
        (Some(204), [head]) => judge(head, &sent, &meant.unwrap_or_else(|| panic!("{sent:?} became {head:?}"))),
        (answer, heads) => assert!(answer != Some(204) && heads.is_empty(), "{answer:?} to {sent:?} with {heads:?}"),
    }
});

/// What a client sends.
#[derive(Debug)]
struct Sent<'a> {
    first: &'a str,
    lines: Vec<&'a str>,
    /// Names in lower case, and values without the space around them.
    headers: Vec<(String, &'a str)>,
}

/// What its request line and `Host` mean, as wxgate decides on it.
struct Meaning {
    path: String,
    /// Without the prefix, where its route cuts that off.
    onward: String,
    query: Option<String>,
    host: Option<String>,
}

impl<'a> Sent<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut lines = text.split('\n').filter(|line| !line.is_empty());
        let first = lines.next()?;
        let lines: Vec<&str> = lines.collect();
        let pairs = lines.iter().filter_map(|line| line.split_once(':'));
        let headers = pairs.map(|(name, value)| (name.to_ascii_lowercase(), trim(value))).collect();
        Some(Self { first, lines, headers })
    }

    fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| *value)
    }

    /// The elements of a header that is a list.
    fn list<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.values(name).flat_map(|line| line.split(',')).map(trim).filter(|part| !part.is_empty())
    }

    fn meaning(&self) -> Option<Meaning> {
        let words: Vec<&str> = self.first.split(' ').collect();
        let [_, target, version] = words[..] else { return None };
        let version = if version == "HTTP/1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
        let uri = Uri::try_from(bytes(target)).ok()?;
        let mut hosts = HeaderMap::new();
        for host in self.values("host") {
            hosts.append(HOST, HeaderValue::from_bytes(&bytes(host)).ok()?);
        }
        let target = target_of(version, &uri, &hosts).ok()?;
        let onward = if route(target.path.as_str()) == "cut" {
            strip_prefix(&target.path, "/cut").ok()?
        } else {
            target.path.clone()
        };
        Some(Meaning {
            path: target.path.as_str().to_owned(),
            onward: onward.as_str().to_owned(),
            query: target.query.map(|query| latin1(query.as_bytes())),
            host: self.values("host").next().or(target.host.map(|host| host.received())).map(str::to_owned),
        })
    }

    /// A body as the head announces it; nothing, where that is too long to be sent.
    fn body(&self) -> Option<String> {
        if self.values("transfer-encoding").next().is_some() {
            return Some("0\r\n\r\n".to_owned());
        }
        let length = self.values("content-length").find_map(|length| length.parse().ok()).unwrap_or(0);
        (length <= 64).then(|| "x".repeat(length))
    }

    fn bytes(&self, body: &str) -> Vec<u8> {
        let lines = [self.first].into_iter().chain(self.lines.iter().copied());
        let head: String = lines.flat_map(|line| [line, "\r\n"]).collect();
        bytes(&format!("{head}\r\n{body}"))
    }

    /// Whether a connection can be used again after this.
    fn may_be_kept(&self) -> bool {
        let framed = ["content-length", "transfer-encoding"].iter().any(|name| self.values(name).next().is_some());
        self.first.ends_with(" HTTP/1.1") && !framed
    }

    /// Whose session this is, where only one may be meant.
    fn caller(&self, meant: &Meaning) -> Result<Option<&'static str>, &'static str> {
        let lines: Vec<&str> = self.values("authorization").collect();
        let mut carried = Vec::new();
        if route(&meant.path) == "carried" {
            carried.extend(self.values("x-session-token"));
            let query = pieces(meant.query.as_deref()).filter(|piece| is_the_token(piece));
            carried.extend(query.map(|piece| piece.split_once('=').map_or("", |(_, value)| value)));
            carried.extend(self.list("sec-websocket-protocol").filter(|offer| has_a_token(offer)));
        }
        match (&lines[..], &carried[..]) {
            ([] | [_], []) => Ok(lines.first().and_then(|line| owner(bearer(line)?))),
            ([], [token]) => Ok(owner(token)),
            ([line], [token]) if !line.contains(PREFIX) => Ok(owner(token)),
            _ => Err("two may be meant"),
        }
    }
}

/// What a head that has reached the upstream must be.
fn judge(head: &Head, sent: &Sent<'_>, meant: &Meaning) {
    let route = route(&meant.path);
    assert_eq!(sent.first.split(' ').next(), Some(head.method.as_str()), "{head:?}");
    let kept: Vec<&str> =
        pieces(meant.query.as_deref()).filter(|piece| route != "carried" || !is_the_token(piece)).collect();
    let query = meant.query.as_ref().filter(|_| !kept.is_empty()).map(|_| kept.join("&"));
    assert_eq!(head.target, query.map_or(meant.onward.clone(), |query| format!("{}?{query}", meant.onward)));
    let (plain, slashes) = (decode(&decode(&meant.path)), |path: &str| path.matches('/').count());
    let odd = route != "cut" && (plain.contains(';') || slashes(&plain) != slashes(&meant.path));
    assert!(!odd, "{head:?}");
    assert!(meant.host.as_deref().is_none_or(|host| host == head.host()), "{sent:?} became {head:?}");

    let caller = sent.caller(meant).unwrap_or_else(|why| panic!("{why}: {sent:?} became {head:?}"));
    let caller = caller.filter(|_| !matches!(route, "" | "cut"));
    assert!(route != "mine" || caller.is_some(), "{sent:?} became {head:?}");
    let mut told = head.identity();
    told.sort_unstable();
    let known = caller.map(|openid| [("x-wx-appid", APP), ("x-wx-openid", openid), ("x-wx-source", "wx_client")]);
    assert_eq!(told, known.iter().flatten().copied().collect::<Vec<_>>(), "{sent:?} became {head:?}");

    let switches = route == "carried" && sent.list("upgrade").any(|name| name.eq_ignore_ascii_case("websocket"));
    let opening: &[(&str, &str)] = if switches { &[("connection", "Upgrade"), ("upgrade", "websocket")] } else { &[] };
    let chunked = sent.values("transfer-encoding").next().is_some();
    let ours: Vec<&str> = opening.iter().map(|(name, _)| *name).chain(chunked.then_some("transfer-encoding")).collect();
    head.judge(&ours);
    judge_length(head, sent, chunked);
    judge_offers(head, sent, route);
    judge_the_rest(head, sent, route, opening);
}

/// The body is as long as the client says.
fn judge_length(head: &Head, sent: &Sent<'_>, chunked: bool) {
    let length = |values: &mut dyn Iterator<Item = &str>| -> Vec<u64> {
        values.map(|value| value.parse().unwrap_or_else(|_| panic!("{head:?}"))).filter(|length| *length > 0).collect()
    };
    let expected = length(&mut sent.values("content-length"));
    assert_eq!(length(&mut head.values("content-length").into_iter()), expected, "{sent:?} became {head:?}");
    assert!(head.values("content-length").len() <= 1, "{head:?}");
    assert_eq!(head.values("transfer-encoding"), if chunked { &["chunked"][..] } else { &[] }, "{head:?}");
}

/// Nothing of what is offered for a WebSocket is for wxgate.
fn judge_offers(head: &Head, sent: &Sent<'_>, route: &str) {
    let name = "sec-websocket-protocol";
    let told: Vec<&str> = head.values(name).into_iter().flat_map(|line| line.split(',')).map(trim).collect();
    let told: Vec<&str> = told.into_iter().filter(|offer| !offer.is_empty()).collect();
    let is_ours = |offer: &str| route == "carried" && (offer == "wxgate" || has_a_token(offer));
    let goes_on = |offer: &&str| !is_ours(offer) && !is_listed(sent, name);
    assert_eq!(told, sent.list(name).filter(goes_on).collect::<Vec<_>>(), "{sent:?} became {head:?}");
}

/// All else is the client's lines, save those that are for us, and what we tell.
fn judge_the_rest(head: &Head, sent: &Sent<'_>, route: &str, opening: &[(&str, &str)]) {
    let judged = |name: &str| {
        let known = ["host", "content-length", "transfer-encoding", "sec-websocket-protocol", "x-request-id"];
        known.contains(&name) || tells_the_way(name) || folded(name).starts_with("x-wx-")
    };
    let url_with_a_token = sent.values("referer").any(has_a_token);
    let goes_on = |(name, value): &(&str, &str)| {
        let is_ours = match *name {
            "authorization" => value.contains(PREFIX),
            "referer" => url_with_a_token,
            "x-session-token" => route == "carried",
            name => OF_A_CONNECTION.contains(&name),
        };
        !is_ours && !is_listed(sent, name)
    };
    let lines = sent.headers.iter().map(|(name, value)| (name.as_str(), *value)).filter(goes_on);
    let via = if sent.first.ends_with(" HTTP/1.0") { "1.0 wxgate" } else { "1.1 wxgate" };
    let mut expected: Vec<_> = lines.chain([("via", via)]).chain(opening.iter().copied()).collect();
    expected.retain(|(name, _)| !judged(name));
    let rest = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut rest: Vec<_> = rest.filter(|(name, _)| !judged(name)).collect();
    expected.sort_unstable();
    rest.sort_unstable();
    assert_eq!(rest, expected, "{sent:?} became {head:?}");
}

/// Whether the client's `Connection` says that a header is for us alone.
fn is_listed(sent: &Sent<'_>, name: &str) -> bool {
    sent.list("connection").any(|listed| listed.eq_ignore_ascii_case(name))
}

fn route(path: &str) -> &'static str {
    let first = path.split('/').nth(1).unwrap_or_default();
    ["mine", "maybe", "cut", "carried"].into_iter().find(|known| *known == first).unwrap_or_default()
}

fn bearer(line: &str) -> Option<&str> {
    let (scheme, token) = line.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| trim(token))
}

fn owner(token: &str) -> Option<&'static str> {
    WORLD.users.iter().find(|(_, theirs)| theirs == token).map(|(openid, _)| *openid)
}

/// What stands between the `&` of a query.
fn pieces(query: Option<&str>) -> impl Iterator<Item = &str> {
    query.into_iter().flat_map(|query| query.split('&'))
}

fn is_the_token(piece: &str) -> bool {
    decode(piece.split('=').next().unwrap_or_default()) == "token"
}

fn has_a_token(text: &str) -> bool {
    decode(text).contains(PREFIX)
}

/// A text without percent escapes.
fn decode(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let hex = rest.as_str().get(..2).filter(|hex| c == '%' && !hex.starts_with('+'));
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.map_or(c, char::from));
        rest = if byte.is_some() { rest.as_str()[2..].chars() } else { rest };
    }
    out
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).expect("Latin-1")).collect()
}

/// Sends a request, over the last one's connection where that is still open, and says what it is answered. Nothing, where the
/// connection is closed without an answer.
fn ask(bytes: &[u8], sent: &Sent<'_>) -> Option<u16> {
    let mut kept = KEPT.lock().expect("nobody panics");
    for stream in [kept.take(), None] {
        let fresh = stream.is_none();
        let mut stream = stream.unwrap_or_else(connect);
        let head = exchange(&mut stream, bytes).unwrap_or_else(|error| {
            assert!(error.kind() != io::ErrorKind::WouldBlock, "no answer and no end: {sent:?}");
            String::new()
        });
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        if status == Some(204) && sent.may_be_kept() && !head.contains("\r\nconnection: close\r\n") {
            *kept = Some(stream);
        }
        if status.is_some() || fresh {
            return status;
        }
    }
    None
}

fn connect() -> BufReader<TcpStream> {
    let stream = TcpStream::connect(WORLD.place.gateway).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    BufReader::new(stream)
}

/// The head of the answer that is not only on the way to one, in lower case.
fn exchange(stream: &mut BufReader<TcpStream>, bytes: &[u8]) -> io::Result<String> {
    stream.get_mut().write_all(bytes)?;
    loop {
        let head = latin1(&read_head(stream)?).to_ascii_lowercase();
        if !head.starts_with("http/1.1 100 ") {
            return Ok(head);
        }
    }
}

/// The token of whoever this code is for.
fn login(place: &Place, code: &str) -> io::Result<String> {
    let body = serde_json::json!({ "jsCode": code }).to_string();
    let head =
        format!("POST /v1/verify HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(place.gateway)?;
    stream.write_all((head + &body).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let body: serde_json::Value = serde_json::from_str(body)?;
    Ok(body["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned())
}
