//! What the targets have in common that send heads through a whole gateway: the gateway, an upstream of HTTP/1.1 that tells
//! of every head it gets, and what such a head must be, whoever has sent it.
//!
//! Bytes are looked at as Latin-1, where each is a character and none is lost.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use wxgate::app::{App, World};

/// What belongs to a connection, by its own name.
pub const OF_A_CONNECTION: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
    "proxy-authorization",
    "proxy-authenticate",
];

/// A gateway and its upstream.
pub struct Place {
    pub gateway: SocketAddr,
    /// The heads that the upstream has got.
    heads: Mutex<Receiver<Vec<u8>>>,
    _app: Mutex<App>,
}

impl Place {
    /// With these sections beside the others. `app` is the end of the one app's, and the routes lead to `app`. Names with an
    /// underscore are kept, so that what could be taken for a name of ours is not gone for its underscore alone.
    pub fn new(app: &str, sections: &str) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nunderscore_headers = \"keep\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n\
             [[apps]]\napp_id = \"wx4f4bc4dec97d474b\"\nsecret = {{ env = \"SECRET\" }}\n{app}\n\
             [[upstreams]]\nname = \"app\"\nservers = [\"http://{}\"]\n{sections}",
            upstream.local_addr().expect("an address")
        );
        let no_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let loaded = wxgate::config::parse(&text, "gateway.toml", &|_| Some("secret".repeat(8)), &no_file);
        let config = loaded.unwrap_or_else(|why| panic!("{why}")).config;
        let app =
            App::start(config, World { access_log: Box::new(io::sink()), ..World::default() }).expect("it starts");
        let (said, heads) = channel();
        thread::spawn(move || {
            for stream in upstream.incoming().flatten() {
                let said = said.clone();
                thread::spawn(move || answer(stream, &said));
            }
        });
        Self { gateway: app.addrs()[0], heads: Mutex::new(heads), _app: Mutex::new(app) }
    }

    /// What the upstream has got since this was last asked. A head is here before there is an answer to it.
    pub fn heads(&self) -> Vec<Head> {
        self.heads.lock().expect("nobody panics").try_iter().map(|head| Head::of(&head)).collect()
    }
}

/// A head as the upstream reads it.
#[derive(Debug)]
pub struct Head {
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    fn of(head: &[u8]) -> Self {
        let head = latin1(head);
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, "HTTP/1.1"] = first[..] else { panic!("{head:?}") };
        let headers = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?} in {head:?}")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { method: method.to_owned(), target: target.to_owned(), headers }
    }

    /// The values under a name.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The one host.
    pub fn host(&self) -> &str {
        let [host] = self.values("host")[..] else { panic!("not one Host in {self:?}") };
        host
    }

    /// What a backend could take for an identity: CGI and its heirs write one mark for another.
    pub fn identity(&self) -> Vec<(&str, &str)> {
        let alike = self.headers.iter().filter(|(name, _)| folded(name).starts_with("x-wx-"));
        alike.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Judges what holds of every head: nothing in it belongs to a connection, but for `ours`; it says of where the request
    /// came from what is known of a stranger on this machine, and says it once.
    pub fn judge(&self, ours: &[&str]) {
        assert!(self.target.starts_with('/'), "{self:?}");
        let mut way = Vec::new();
        for (name, value) in &self.headers {
            assert!(ours.contains(&name.as_str()) || !OF_A_CONNECTION.contains(&name.as_str()), "{name} in {self:?}");
            assert!(!value.chars().any(|c| c.is_ascii_control() && c != '\t'), "{self:?}");
            if tells_the_way(name) {
                way.push((name.as_str(), value.as_str()));
            }
        }
        way.sort_unstable();
        let host = self.host();
        let element = format!("for=127.0.0.1;host=\"{host}\";proto=http");
        let known = [
            ("forwarded", element.as_str()),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", host),
            ("x-forwarded-proto", "http"),
        ];
        assert_eq!(way, known, "{self:?}");
        let [id] = self.values("x-request-id")[..] else { panic!("not one X-Request-Id in {self:?}") };
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{self:?}");
    }
}

/// Whether a name, in lower case, tells where a request came from or what it was for, as some backend may read it.
pub fn tells_the_way(name: &str) -> bool {
    let folded = folded(name);
    let families = ["x-forwarded-", "x-original-", "x-rewrite-"];
    name == "forwarded" || folded == "x-real-ip" || families.iter().any(|family| folded.starts_with(family))
}

/// A name with one mark for all marks.
pub fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// Bytes as a text of as many characters.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Tells of every head on a connection, and answers it once its body is there.
fn answer(stream: TcpStream, said: &Sender<Vec<u8>>) {
    let mut stream = BufReader::new(stream);
    while let Ok(head) = read_head(&mut stream) {
        let text = latin1(&head).to_ascii_lowercase();
        let heard = said.send(head).is_ok();
        let done = heard && skip_body(&mut stream, &text).is_ok();
        if !done || stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
            return;
        }
    }
}

/// Reads to the end of a head.
pub fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn skip_body(stream: &mut BufReader<TcpStream>, head: &str) -> io::Result<()> {
    let mut body = Vec::new();
    if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        while !body.ends_with(b"0\r\n\r\n") {
            stream.read_until(b'\n', &mut body)?;
        }
    } else if let Some((_, rest)) = head.split_once("\r\ncontent-length: ") {
        let length = rest.split("\r\n").next().unwrap_or_default();
        let length: u64 = length.parse().unwrap_or_else(|_| panic!("{head:?}"));
        stream.take(length).read_to_end(&mut body)?;
    }
    Ok(())
}
