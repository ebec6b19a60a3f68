//! A stand-in for a server of S3 with one bucket. It is strict: every request has to be signed with version 4 of Amazon's
//! signature, which is worked out here anew, over headers and body as they came.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

pub const BUCKET: &str = "pictures-on-trial";
pub const REGION: &str = "cn-north-1";
pub const ACCESS_KEY: &str = "AKIDONTRIAL";
pub const SECRET_KEY: &str = "secret-key-on-trial";

/// When what is put here has changed: long before any clock of a story, but for what a story says.
const NOW: &str = "2026-09-21T14:13:20.000Z";

#[derive(Clone)]
pub struct S3Server {
    addr: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    objects: Mutex<BTreeMap<String, (Vec<u8>, String)>>,
    refused: AtomicUsize,
    to_fail: AtomicUsize,
    /// The methods of all requests for an object, as they came.
    asked: Mutex<Vec<String>>,
    /// So many removals from here on fail, whatever else does.
    to_fail_removing: AtomicUsize,
}

struct Asked {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl S3Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self { addr: listener.local_addr().expect("an address"), inner: Arc::default() };
        let inner = Arc::clone(&server.inner);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = Arc::clone(&inner);
                thread::spawn(move || inner.serve(stream));
            }
        });
        server
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The keys of all objects.
    pub fn objects(&self) -> Vec<String> {
        self.inner.objects.lock().unwrap().keys().cloned().collect()
    }

    /// An object that was last changed then.
    pub fn put(&self, key: &str, changed: &str) {
        self.inner.objects.lock().unwrap().insert(key.to_owned(), (b"left behind".to_vec(), changed.to_owned()));
    }

    pub fn remove_all(&self) {
        self.inner.objects.lock().unwrap().clear();
    }

    /// How many requests were not signed as they should be.
    pub fn refused(&self) -> usize {
        self.inner.refused.load(Ordering::SeqCst)
    }

    /// The methods of the requests for objects since this was asked last.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.inner.asked.lock().unwrap())
    }

    /// So many removals from here on get a 503.
    pub fn fail_next_removals(&self, removals: usize) {
        self.inner.to_fail_removing.store(removals, Ordering::SeqCst);
    }

    /// So many requests from here on get a 503.
    pub fn fail_next(&self, requests: usize) {
        self.inner.to_fail.store(requests, Ordering::SeqCst);
    }
}

impl Inner {
    fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(asked) = read(&mut stream) {
            let (status, headers, body) = self.answer(&asked);
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n");
            let body = if asked.method == "HEAD" { Vec::new() } else { body };
            if stream.get_mut().write_all(&[head.as_bytes(), &body].concat()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, asked: &Asked) -> (&'static str, String, Vec<u8>) {
        let fails = |left: &AtomicUsize| {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        };
        if fails(&self.to_fail) || asked.method == "DELETE" && fails(&self.to_fail_removing) {
            return ("503 Service Unavailable", String::new(), Vec::new());
        }
        if !is_signed(asked) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            let error = "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>";
            return ("403 Forbidden", String::new(), error.as_bytes().to_vec());
        }
        let Some(key) = asked.path.strip_prefix(&format!("/{BUCKET}")) else {
            return ("404 Not Found", String::new(), Vec::new());
        };
        let key = key.trim_start_matches('/').to_owned();
        if !key.is_empty() {
            self.asked.lock().unwrap().push(asked.method.clone());
        }
        let mut objects = self.objects.lock().unwrap();
        match (asked.method.as_str(), key.is_empty()) {
            ("GET", true) => ("200 OK", "Content-Type: application/xml\r\n".to_owned(), list(&objects, &asked.query)),
            ("PUT", false) => {
                objects.insert(key, (asked.body.clone(), NOW.to_owned()));
                ("200 OK", "ETag: \"e\"\r\n".to_owned(), Vec::new())
            }
            ("GET" | "HEAD", false) => match objects.get(&key) {
                Some((body, _)) => {
                    let headers = "ETag: \"e\"\r\nLast-Modified: Mon, 21 Sep 2026 14:13:20 GMT\r\n".to_owned();
                    ("200 OK", headers, body.clone())
                }
                None => ("404 Not Found", String::new(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
            },
            ("DELETE", false) => {
                objects.remove(&key);
                ("204 No Content", String::new(), Vec::new())
            }
            _ => ("405 Method Not Allowed", String::new(), Vec::new()),
        }
    }
}

fn list(objects: &BTreeMap<String, (Vec<u8>, String)>, query: &str) -> Vec<u8> {
    let fields: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(fields.get("list-type").map(String::as_str), Some("2"), "{query}");
    let prefix = fields.get("prefix").map_or("", String::as_str);
    let mut xml = format!("<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>false</IsTruncated>");
    for (key, (body, changed)) in objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
        let size = body.len();
        let _ = write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>{changed}</LastModified><ETag>\"e\"</ETag><Size>{size}</Size></Contents>"
        );
    }
    (xml + "</ListBucketResult>").into_bytes()
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0).map(|_| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = BTreeMap::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Asked { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}

/// As "Create a signed AWS API request" has it, for S3: the path counts as it was sent.
fn is_signed(asked: &Asked) -> bool {
    let Some(authorization) = asked.headers.get("authorization") else { return false };
    let Some(rest) = authorization.strip_prefix("AWS4-HMAC-SHA256 ") else { return false };
    let part = |name: &str| rest.split(',').find_map(|part| part.trim().strip_prefix(name)).unwrap_or_default();
    let (credential, signed, signature) = (part("Credential="), part("SignedHeaders="), part("Signature="));
    let scope = credential.strip_prefix(&format!("{ACCESS_KEY}/")).unwrap_or_default();
    let Some(day) = scope.strip_suffix(&format!("/{REGION}/s3/aws4_request")) else { return false };
    let (Some(date), Some(hash)) = (asked.headers.get("x-amz-date"), asked.headers.get("x-amz-content-sha256")) else {
        return false;
    };
    let names: Vec<&str> = signed.split(';').collect();
    let covers = |name: &str| names.contains(&name);
    if *hash != hex(&Sha256::digest(&asked.body)) || !date.starts_with(day) || !covers("host") || !covers("x-amz-date")
    {
        return false;
    }
    let mut query: Vec<&str> = asked.query.split('&').filter(|field| !field.is_empty()).collect();
    query.sort_unstable();
    let headers: String =
        names.iter().map(|name| format!("{name}:{}\n", asked.headers.get(*name).map_or("", String::as_str))).collect();
    let Asked { method, path, .. } = asked;
    let request = format!("{method}\n{path}\n{}\n{headers}\n{signed}\n{hash}", query.join("&"));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for step in [day, REGION, "s3", "aws4_request"] {
        key = mac(&key, step);
    }
    hex(&mac(&key, &text)) == signature
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
