//! What is sent: one to three requests on a connection, some of them odd in one way or two, and a plain one to end with.
//! Each body is a request, too, so that whoever loses count of its bytes hears one more.

use std::fmt;

use rand::{RngExt, rngs::SmallRng};

/// What both servers are called where a case is written down; each is sent its own name, which is as long.
const NAMES: [&str; 2] = ["x.example", "X.EXAMPLE"];
/// The body of each request that has one.
pub const SMUGGLED: &str = "GET /public/smuggled HTTP/1.1\r\nHost: x.example.com\r\n\r\n";
const LAST: &str = "GET /public/last HTTP/1.1\r\nHost: x.example.com\r\nConnection: close\r\n\r\n";

/// All that is sent on one connection.
pub struct Case {
    oddities: Vec<&'static str>,
    text: String,
}

impl Case {
    /// The case with this number: its first request has the oddity whose turn it is.
    pub fn new(number: usize, rng: &mut SmallRng) -> Self {
        let mut case = Self { oddities: Vec::new(), text: String::new() };
        case.add(Some(number % ODDITIES.len()), rng);
        for _ in 0..rng.random_range(0..3) {
            let odd = rng.random_bool(0.3).then(|| rng.random_range(0..ODDITIES.len()));
            case.add(odd, rng);
        }
        case.text += LAST;
        case
    }

    fn add(&mut self, odd: Option<usize>, rng: &mut SmallRng) {
        let mut request = Request::plain(rng);
        let another = rng.random_bool(0.3).then(|| rng.random_range(0..ODDITIES.len()));
        for at in odd.into_iter().chain(another.filter(|_| odd.is_some())) {
            let (name, make_odd) = ODDITIES[at];
            self.oddities.push(name);
            make_odd(&mut request);
        }
        self.text += &request.to_string();
    }

    /// As it is sent to the server whose name begins with this letter, by somebody with this token.
    pub fn to(&self, letter: char, token: &str) -> String {
        let named = [letter, letter.to_ascii_uppercase()].into_iter().zip(NAMES);
        let named = named
            .fold(self.text.clone(), |text, (letter, host)| text.replace(host, &format!("{letter}{}", &host[1..])));
        named.replace("TOKEN", token)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}\n{}", self.oddities, self.text.escape_debug())
    }
}

/// A request, in the pieces that can be odd.
struct Request {
    before: String,
    method: &'static str,
    target: String,
    version: &'static str,
    host: String,
    lines: String,
    framing: String,
    body: String,
}

impl Request {
    fn plain(rng: &mut SmallRng) -> Self {
        let place = ["/public/", "/orders/", "/maybe/"][rng.random_range(0..3)];
        let lines = if rng.random_bool(0.6) { "Authorization: Bearer TOKEN\r\n" } else { "" };
        let mut request = Self {
            before: String::new(),
            method: ["GET", "DELETE", "OPTIONS", "PROPFIND"][rng.random_range(0..4)],
            target: format!("{place}{}", rng.random_range(0..1000)),
            version: "HTTP/1.1",
            host: "Host: x.example.com\r\n".to_owned(),
            lines: lines.to_owned(),
            framing: String::new(),
            body: String::new(),
        };
        match rng.random_range(0..4) {
            0 => request.sized(&format!("Content-Length: {}", SMUGGLED.len())),
            1 => request.chunked("Transfer-Encoding: chunked", &chunk(""), "\r\n"),
            _ => {}
        }
        request
    }

    /// With a body whose length these lines tell.
    fn sized(&mut self, lines: &str) {
        self.body(lines, SMUGGLED);
    }

    /// With a body in these chunks, and these lines behind the last.
    fn chunked(&mut self, lines: &str, chunks: &str, trailers: &str) {
        self.body(lines, &format!("{chunks}0\r\n{trailers}"));
    }

    fn encoded(&mut self, lines: &str) {
        self.chunked(lines, &chunk(""), "\r\n");
    }

    fn with_chunks(&mut self, chunks: &str) {
        self.chunked("Transfer-Encoding: chunked", chunks, "\r\n");
    }

    fn with_trailers(&mut self, trailers: &str) {
        self.chunked("Transfer-Encoding: chunked", &chunk(""), &format!("{trailers}\r\n"));
    }

    fn body(&mut self, lines: &str, body: &str) {
        self.method = "POST";
        self.framing = format!("{lines}\r\n");
        body.clone_into(&mut self.body);
    }

    fn line(&mut self, line: &str) {
        self.lines += &format!("{line}\r\n");
    }

    /// With another line in the place of `Host`.
    fn called(&mut self, line: &str) {
        self.host = format!("{line}\r\n");
    }

    /// With another target.
    fn moved(&mut self, to: impl Fn(&str) -> String) {
        self.target = to(&self.target);
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, method, target, version, host, lines, framing, body } = self;
        write!(f, "{before}{method} {target} {version}\r\n{host}{lines}{framing}\r\n{body}")
    }
}

/// A chunk with the whole of what is smuggled, and this behind its size.
fn chunk(extension: &str) -> String {
    format!("{:x}{extension}\r\n{SMUGGLED}\r\n", SMUGGLED.len())
}

fn length() -> usize {
    SMUGGLED.len()
}

type Oddity = (&'static str, fn(&mut Request));

/// Every way to be odd.
const ODDITIES: &[Oddity] = &[
    // How long a body is.
    ("a length with zeros in front", |r| r.sized(&format!("Content-Length: 00{}", length()))),
    ("a length among blanks", |r| r.sized(&format!("Content-Length: \t {} \t", length()))),
    ("a length right behind its colon", |r| r.sized(&format!("cOnTeNt-LeNgTh:{}", length()))),
    ("a length with a sign", |r| r.sized(&format!("Content-Length: +{}", length()))),
    ("a length in hex", |r| r.sized(&format!("Content-Length: 0x{:x}", length()))),
    ("a length and a word", |r| r.sized(&format!("Content-Length: {} bytes", length()))),
    ("a list of lengths", |r| r.sized(&format!("Content-Length: {0}, {0}", length()))),
    ("a length twice", |r| r.sized(&format!("Content-Length: {0}\r\nContent-Length: {0}", length()))),
    ("two lengths", |r| r.sized(&format!("Content-Length: {}\r\nContent-Length: 0", length()))),
    ("two lengths the other way round", |r| r.sized(&format!("Content-Length: 0\r\nContent-Length: {}", length()))),
    ("a blank before the colon of a length", |r| r.sized(&format!("Content-Length : {}", length()))),
    ("a length in another name", |r| r.sized(&format!("Content_Length: 0\r\nContent-Length: {}", length()))),
    ("a length that is folded", |r| r.sized(&format!("Content-Length:\r\n {}", length()))),
    ("a length before an encoding", |r| r.encoded("Content-Length: 0\r\nTransfer-Encoding: chunked")),
    ("a length behind an encoding", |r| r.encoded("Transfer-Encoding: chunked\r\nContent-Length: 0")),
    ("a length of nothing", |r| r.body("Content-Length: 0", "")),
    ("a length that is named in Connection", |r| {
        r.sized(&format!("Connection: content-length\r\nContent-Length: {}", length()));
    }),
    // How a body is encoded.
    ("an encoding in capitals", |r| r.encoded("TRANSFER-ENCODING: CHUNKED")),
    ("an encoding among blanks", |r| r.encoded("Transfer-Encoding: \t chunked \t")),
    ("an encoding right behind its colon", |r| r.encoded("Transfer-Encoding:chunked")),
    ("an encoding twice", |r| r.encoded("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
    ("two encodings", |r| r.encoded("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
    ("a list of encodings", |r| r.encoded("Transfer-Encoding: gzip, chunked")),
    ("a list of encodings that does not end in chunked", |r| r.encoded("Transfer-Encoding: chunked, identity")),
    ("an encoding that is nearly chunked", |r| r.encoded("Transfer-Encoding: xchunked")),
    ("an encoding in quotes", |r| r.encoded("Transfer-Encoding: \"chunked\"")),
    ("an encoding with a parameter", |r| r.encoded("Transfer-Encoding: chunked;q=1")),
    ("an encoding behind a vertical tab", |r| r.encoded("Transfer-Encoding: \u{b}chunked")),
    ("a blank before the colon of an encoding", |r| r.encoded("Transfer-Encoding : chunked")),
    ("an encoding that is folded", |r| r.encoded("Transfer-Encoding:\r\n chunked")),
    ("an encoding in another name", |r| {
        r.sized(&format!("Transfer_Encoding: chunked\r\nContent-Length: {}", length()));
    }),
    ("an encoding that is named in Connection", |r| {
        r.encoded("Connection: transfer-encoding\r\nTransfer-Encoding: chunked");
    }),
    ("an encoding in HTTP/1.0", |r| {
        r.encoded("Transfer-Encoding: chunked");
        r.version = "HTTP/1.0";
    }),
    // Chunks.
    ("a chunk with an extension", |r| r.with_chunks(&chunk(";a=b"))),
    ("a chunk with an extension in quotes", |r| r.with_chunks(&chunk(";a=\"b;c\""))),
    ("a chunk with an extension among blanks", |r| r.with_chunks(&chunk(" ; a = b"))),
    ("a chunk with an extension that ends a line alone", |r| r.with_chunks(&chunk(";\nGET /public/smuggled HTTP/1.1"))),
    ("a chunk with a blank behind its size", |r| r.with_chunks(&chunk(" "))),
    ("a chunk with a size in capitals", |r| r.with_chunks(&format!("{:X}\r\n{SMUGGLED}\r\n", length()))),
    ("a chunk with zeros in front of its size", |r| r.with_chunks(&format!("000{}", chunk("")))),
    ("a chunk with a sign", |r| r.with_chunks(&format!("+{}", chunk("")))),
    ("a chunk with 0x", |r| r.with_chunks(&format!("0x{}", chunk("")))),
    ("a chunk without a size", |r| r.with_chunks(&format!("\r\n{SMUGGLED}\r\n"))),
    ("a chunk of a size beyond all", |r| r.with_chunks(&format!("1000000000000000{}", chunk("")))),
    ("a chunk that is shorter than its data", |r| r.with_chunks(&format!("2\r\n{SMUGGLED}\r\n"))),
    ("a chunk whose lines end in line feeds", |r| r.with_chunks(&chunk("").replace("\r\n", "\n"))),
    ("a chunk whose size ends in a carriage return", |r| r.with_chunks(&chunk("").replacen("\r\n", "\r", 1))),
    ("a chunk for each byte", |r| {
        r.with_chunks(&SMUGGLED.chars().map(|c| format!("1\r\n{c}\r\n")).collect::<String>());
    }),
    // What stands behind them.
    ("a trailer", |r| r.with_trailers("X-Sum: 1\r\n")),
    ("a trailer that says who calls", |r| r.with_trailers("X-WX-OPENID: evil\r\nX_WX_OPENID: evil\r\n")),
    ("a trailer that says how long it was", |r| {
        r.with_trailers("Content-Length: 0\r\nTransfer-Encoding: identity\r\n");
    }),
    ("a trailer that is folded", |r| r.with_trailers("X-Sum: 1\r\n X-WX-OPENID: evil\r\n")),
    ("a trailer with a line feed alone", |r| r.with_trailers("X-Sum: 1\n\nGET /public/smuggled HTTP/1.1\r\n")),
    // Lines.
    ("line feeds alone", |r| r.line("X-A: b\nX-C: d")),
    ("a line feed alone at the end", |r| r.framing += "\n"),
    ("a carriage return alone", |r| r.line("X-A: b\rX-WX-OPENID: evil")),
    ("a folded line", |r| r.line("X-A: b\r\n X-WX-OPENID: evil")),
    ("a line folded by a tab", |r| r.line("X-A: b\r\n\tc")),
    ("a folded first line", |r| r.host.insert_str(0, " X-A: b\r\n")),
    ("a line without a colon", |r| r.line("X-WX-OPENID evil")),
    ("a line without a name", |r| r.line(": evil")),
    ("a blank before a colon", |r| r.line("X-WX-OPENID : evil")),
    ("a blank in a name", |r| r.line("X-A X-WX-OPENID: evil")),
    ("a NUL in a value", |r| r.line("X-A: b\0c")),
    ("a NUL in a name", |r| r.line("X-A\0: b")),
    ("a line without a value", |r| r.line("X-A:")),
    ("a value among blanks", |r| r.line("X-A: \t  b \t c  \t")),
    ("a value beyond ASCII", |r| r.line("X-A: 你好")),
    ("a value in quotes", |r| r.line("X-A: \"b\\\"\r\nX-C: d\"")),
    ("a name of marks", |r| r.line("X!#$%&'*+.^`|~: b")),
    ("a name in every case", |r| r.line("x-CuStOm: 1\r\nX-cUsToM: 2")),
    ("a header three times", |r| r.line("X-A: 1\r\nX-A: 2\r\nX-A: 1")),
    ("two cookies", |r| r.line("Cookie: a=b\r\nCookie: c=d")),
    ("a long line", |r| r.line(&format!("X-A: {}", "b".repeat(6000)))),
    ("a head too long", |r| r.line(&format!("X-A: {}", "b".repeat(40_000)))),
    ("a hundred lines", |r| r.line(&"X-A: b\r\n".repeat(100))),
    ("a blank line first", |r| r.before += "\r\n"),
    ("three blank lines first", |r| r.before += "\r\n\r\n\r\n"),
    // What concerns one connection, and who calls.
    ("a question before the body", |r| {
        r.sized(&format!("Expect: 100-continue\r\nContent-Length: {}", length()));
    }),
    ("a question that nobody knows", |r| r.sized(&format!("Expect: 200-ok\r\nContent-Length: {}", length()))),
    ("an upgrade", |r| r.line("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk")),
    ("a web socket", |r| r.line("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==")),
    ("an end that is named", |r| r.line("Connection: close")),
    ("what is left to this connection", |r| r.line("Connection: X-Mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: 5")),
    ("what Connection names in vain", |r| r.line("Connection: x-wx-openid, host, X_WX_OPENID, via, x-forwarded-for")),
    ("encodings for the answer", |r| r.line("TE: trailers, deflate\r\nConnection: TE\r\nTrailer: X-WX-OPENID")),
    ("a claim to be somebody", |r| r.line("X-WX-OPENID: evil\r\nx_wx_openid: evil\r\nX.WX.OPENID: evil")),
    ("two tokens", |r| r.line("Authorization: Bearer wxg_evil\r\nAuthorization: Bearer TOKEN")),
    ("another path in a header", |r| r.line("X-Original-URL: /public/x\r\nX-Rewrite-URL: /x\r\nX-Forwarded-Uri: /x")),
    // The first line.
    ("HTTP/1.0", |r| r.version = "HTTP/1.0"),
    ("HTTP/1.2", |r| r.version = "HTTP/1.2"),
    ("HTTP/2", |r| r.version = "HTTP/2.0"),
    ("a version in lower case", |r| r.version = "http/1.1"),
    ("no version", |r| r.version = ""),
    ("a method with a mark", |r| r.method = "GE:T"),
    ("CONNECT", |r| {
        r.method = "CONNECT";
        r.moved(|_| "x.example.com:443".to_owned());
    }),
    ("TRACE", |r| r.method = "TRACE"),
    ("the preface of HTTP/2", |r| r.before += "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    // The host.
    ("no host", |r| r.host.clear()),
    ("two hosts", |r| r.host += "Host: x.example.com\r\n"),
    ("two different hosts", |r| r.host += "host: evil.example.com\r\n"),
    ("a list of hosts", |r| r.called("Host: x.example.com, evil.example.com")),
    ("a host in capitals", |r| r.called("HOST:X.EXAMPLE.COM")),
    ("a host with a dot and a port", |r| r.called("Host: x.example.com.:8080")),
    ("a host among blanks", |r| r.called("Host: \t x.example.com \t")),
    ("a host with a user", |r| r.called("Host: me@x.example.com")),
    ("a host behind everything else", |r| r.lines += &std::mem::take(&mut r.host)),
    // The target.
    ("an absolute target", |r| r.moved(|t| format!("http://x.example.com{t}"))),
    ("an absolute target in capitals", |r| r.moved(|t| format!("HTTP://X.EXAMPLE.COM{t}"))),
    ("an absolute target with a port", |r| r.moved(|t| format!("http://x.example.com:80{t}"))),
    ("an absolute target elsewhere", |r| r.moved(|t| format!("http://evil.example.com{t}"))),
    ("an opaque target", |r| r.moved(|t| format!("http:http://x.example.com{t}"))),
    ("a star", |r| r.moved(|_| "*".to_owned())),
    ("a word for a target", |r| r.moved(|_| "admin".to_owned())),
    ("two slashes first", |r| r.moved(|t| format!("/{t}"))),
    ("many slashes", |r| r.moved(|t| t.replace('/', "///"))),
    ("a dot", |r| r.moved(|t| format!("/.{t}/./a/."))),
    ("a climb", |r| r.moved(|t| format!("{t}/../../orders"))),
    ("an encoded climb", |r| r.moved(|t| format!("{t}/%2e%2E/x"))),
    ("a climb encoded twice", |r| r.moved(|t| format!("{t}/%252e%252e/x"))),
    ("a climb with a parameter", |r| r.moved(|t| format!("{t}/..;/x"))),
    ("an encoded slash", |r| r.moved(|t| format!("{t}%2fa"))),
    ("a backslash", |r| r.moved(|t| format!("{t}\\a"))),
    ("a semicolon", |r| r.moved(|t| format!("{t};a=b"))),
    ("an encoded NUL", |r| r.moved(|t| format!("{t}/%00"))),
    ("an encoded line end", |r| r.moved(|t| format!("{t}/%0d%0aX-WX-OPENID:%20evil"))),
    ("a broken escape", |r| r.moved(|t| format!("{t}/%zz"))),
    ("what need not be encoded", |r| r.moved(|t| format!("{t}/%41%7e%2d%5f"))),
    ("what must be encoded", |r| r.moved(|t| format!("{t}/%20%22%3c%3e%5b%5d%5e%60%7b%7c%7d"))),
    ("an encoded percent sign", |r| r.moved(|t| format!("{t}/100%25/%2541"))),
    ("an encoded question mark", |r| r.moved(|t| format!("{t}%3fa=b"))),
    ("encoded characters", |r| r.moved(|t| format!("{t}/%e4%BD%a0%E5%A5%BD"))),
    // In the path: in a query they pass as they came, and nginx takes them, where Node does not.
    ("characters", |r| r.moved(|t| format!("/你好{t}"))),
    ("marks that need no encoding", |r| r.moved(|t| format!("{t}/:@!$&'()*+,=~"))),
    ("a fragment", |r| r.moved(|t| format!("{t}#/../public/"))),
    ("a blank in the path", |r| r.moved(|t| format!("{t} a"))),
    ("a query with everything", |r| r.moved(|t| format!("{t}?a=/../%2e%2e/;x&b=%00%0d%0a%zz&c=?{{[|]}}^`\\"))),
    ("an empty query", |r| r.moved(|t| format!("{t}?"))),
];
