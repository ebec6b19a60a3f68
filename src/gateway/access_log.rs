//! One line per request, written when its answer has gone out whole or has been cut short. `docs/LOGGING.md` lists the
//! fields. A query string, a token or an openid never gets here: [`Entry`] has no place for one. The same moment is the one
//! to count the request.

use std::{
    borrow::Cow,
    cell::RefCell,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use http::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use super::counting;
use crate::{
    auth::{Access, bearer::TOKEN_PREFIX},
    limit::Whose,
    model::{AppId, Clock},
    telemetry::{Field, Json, Line, LineBuffer, OpenConnection, OpenTunnel, Text, WorkerTraffic, key},
    web::RequestId,
};

/// The status that stands for "the client went away before there was an answer". It is only ever logged.
const CLIENT_GONE: u16 = 499;

/// The last letter of a token's prefix.
const PREFIX_END: u8 = TOKEN_PREFIX.as_bytes()[TOKEN_PREFIX.len() - 1];

/// What one line tells.
#[derive(Debug)]
pub struct Entry {
    /// The request's id, also sent to the client and the upstream.
    pub id: RequestId,
    /// The client's address, as the trusted proxies tell it.
    pub client: IpAddr,
    /// The version of TLS that the client speaks.
    pub tls: Option<&'static str>,
    /// The method; `None` when there never was a request.
    pub method: Option<Method>,
    /// The target as received, or that of the request another proxy asks about. Only its path is written.
    pub target: Option<Uri>,
    /// The route's place in match order.
    pub route: Option<usize>,
    /// The endpoint of ours that answered.
    pub endpoint: Option<&'static str>,
    /// The app that a login was for, where it failed.
    pub app: Option<AppId>,
    /// What was found out about the caller.
    pub access: Option<Access>,
    /// What was answered; `None` while there is no answer.
    pub status: Option<StatusCode>,
    /// The machine word of an error of ours.
    pub code: Option<&'static str>,
    /// The chain of causes of an error of ours.
    pub cause: Option<String>,
    /// Body bytes of the answer.
    pub bytes: u64,
    /// What a client sent through a tunnel.
    pub received: Option<u64>,
    /// Who or what ended a tunnel.
    pub ended_by: Option<&'static str>,
    /// Whether the answer's body went out whole.
    pub complete: bool,
    /// When the request was there.
    pub started: Instant,
    /// When the upstream was asked. That is as good as at once, unless somebody else had to be waited for.
    pub asked: Instant,
    /// How long the upstream took to the head of its answer.
    pub upstream: Option<Duration>,
}

impl Entry {
    /// A line about which nothing is known but who and when.
    pub fn new(id: RequestId, client: IpAddr) -> Self {
        let started = Instant::now();
        Self {
            id,
            client,
            tls: None,
            method: None,
            target: None,
            route: None,
            endpoint: None,
            app: None,
            access: None,
            status: None,
            code: None,
            cause: None,
            bytes: 0,
            received: None,
            ended_by: None,
            complete: false,
            started,
            asked: started,
            upstream: None,
        }
    }
}

/// Writes the lines of one worker.
#[derive(Debug)]
pub struct AccessLog {
    lines: Option<RefCell<LineBuffer>>,
    json: bool,
    clock: Arc<dyn Clock>,
    /// Labels of the routes, in match order.
    routes: Vec<Field>,
    traffic: Rc<WorkerTraffic>,
    /// The present second as text. It is written out once and used for all lines of that second.
    second: RefCell<(u64, String)>,
}

impl AccessLog {
    /// A log that writes to `lines`, or nowhere, as JSON or as `key=value` pairs, and counts in `traffic`.
    pub fn new(
        lines: Option<LineBuffer>,
        json: bool,
        clock: Arc<dyn Clock>,
        routes: &[String],
        traffic: Rc<WorkerTraffic>,
    ) -> Rc<Self> {
        let second = RefCell::new((u64::MAX, String::new()));
        let label = if json { Field::of::<true> } else { Field::of::<false> };
        let routes = routes.iter().map(|route| label(key!("route"), route)).collect();
        Rc::new(Self { lines: lines.map(RefCell::new), json, clock, routes, traffic, second })
    }

    /// What it counts in.
    pub fn traffic(&self) -> &WorkerTraffic {
        &self.traffic
    }

    /// Hands over what has been written so far.
    pub fn flush(&self) {
        if let Some(lines) = &self.lines {
            lines.borrow_mut().flush();
        }
    }

    /// Counts a connection, open for as long as the guard lives.
    pub fn connection(&self) -> OpenConnection {
        self.traffic.connection()
    }

    /// Counts a request that a limit of its route refused.
    pub fn limited(&self, route: usize, limit: Whose) {
        counting::count_limited(&self.traffic, route, limit);
    }

    fn write(&self, entry: &Entry) {
        let Some(lines) = &self.lines else { return };
        lines.borrow_mut().push(|out| {
            if self.json {
                self.fields(Json::begin(out), entry);
            } else {
                self.fields(Text::begin(out), entry);
            }
        });
    }

    fn fields<const JSON: bool>(&self, mut line: Line<'_, JSON>, entry: &Entry) {
        let now = self.clock.now();
        let mut second = self.second.borrow_mut();
        if second.0 != now.as_secs() {
            let time = UNIX_EPOCH + Duration::from_secs(now.as_secs());
            let text = humantime::format_rfc3339_seconds(time).to_string();
            *second = (now.as_secs(), text.trim_end_matches('Z').to_owned());
        }
        line.moment(key!("ts"), &second.1, now.as_millis() % 1000);
        line.plain(key!("kind"), "access");
        line.bytes(key!("id"), entry.id.as_bytes());
        line.address(key!("client"), entry.client);
        if let Some(tls) = entry.tls {
            line.plain(key!("tls"), tls);
        }
        // A method is a token, which has none of what would have to be escaped.
        line.plain(key!("method"), entry.method.as_ref().map_or("-", Method::as_str));
        line.text(key!("path"), &path(entry));
        if let Some(route) = entry.route.and_then(|n| self.routes.get(n)) {
            line.ready(route);
        }
        if let Some(endpoint) = entry.endpoint {
            line.plain(key!("endpoint"), endpoint);
        }
        if let Some(session) = entry.access.as_ref().and_then(Access::session) {
            line.text(key!("app"), session.identity().user.app.as_str());
            line.hex(key!("user"), session.tag().as_bytes());
        } else if let Some(app) = &entry.app {
            line.text(key!("app"), app.as_str());
        }
        line.integer(key!("status"), entry.status.map_or(CLIENT_GONE, |s| s.as_u16()).into());
        if let Some(code) = entry.code {
            line.plain(key!("code"), code);
        }
        if let Some(cause) = &entry.cause {
            line.text(key!("cause"), cause);
        }
        line.integer(key!("bytes"), entry.bytes);
        if let Some(received) = entry.received {
            line.integer(key!("received"), received);
        }
        if let Some(ended_by) = entry.ended_by {
            line.plain(key!("ended_by"), ended_by);
        }
        line.millis(key!("ms"), entry.started.elapsed());
        if let Some(upstream) = entry.upstream {
            line.millis(key!("upstream_ms"), upstream);
        }
        line.flag(key!("complete"), entry.complete);
        line.end();
    }
}

/// The path as received, without the query; `-` when there never was a request. A session token has no place in a path,
/// and where somebody puts one there all the same, it goes no further than its prefix.
fn path(entry: &Entry) -> Cow<'_, str> {
    let Some(target) = &entry.target else { return Cow::Borrowed("-") };
    let path = target.path();
    // Any letter of a token can be written as %xx. Most paths have none of these, nor what ends the prefix of a token.
    if memchr::memchr2(b'%', PREFIX_END, path.as_bytes()).is_none() {
        return Cow::Borrowed(path);
    }
    let plain = percent_decode_str(path).decode_utf8_lossy();
    if plain.contains(TOKEN_PREFIX) { Cow::Owned(without_tokens(&plain)) } else { Cow::Borrowed(path) }
}

fn without_tokens(path: &str) -> String {
    let mut parts = path.split(TOKEN_PREFIX);
    let mut safe = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        safe.push_str(TOKEN_PREFIX);
        safe.push_str("***");
        safe.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    }
    safe
}

/// An entry on its way to the log. It is written when this is dropped, so no way out of the pipeline can forget it.
#[derive(Debug)]
pub struct Ticket {
    log: Rc<AccessLog>,
    /// What is known so far. Boxed, since it goes along with the request and its answer through many hands.
    pub entry: Box<Entry>,
}

impl Ticket {
    /// Opens a line.
    pub fn new(log: Rc<AccessLog>, entry: Entry) -> Self {
        Self { log, entry: Box::new(entry) }
    }

    /// The head of the answer is there.
    pub fn answered(&self, at: Instant) {
        let upstream = self.entry.upstream;
        let own = at.saturating_duration_since(self.entry.started).saturating_sub(upstream.unwrap_or_default());
        self.log.traffic.answered(own, upstream);
    }

    /// Counts a tunnel that begins with this answer.
    pub fn tunnel(&self) -> OpenTunnel {
        self.log.traffic.tunnel()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        counting::count(&self.log.traffic, &self.entry);
        self.log.write(&self.entry);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Mutex, PoisonError},
    };

    use super::*;
    use crate::{
        config::sections::LogFormat,
        model::{ManualClock, Timestamp},
        telemetry::{Counters, LineWriter},
    };

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of entries that `fill` brings; how long they took is left out.
    fn written(json: bool, fill: impl FnOnce(&Rc<AccessLog>, &ManualClock)) -> Vec<String> {
        let sink = Sink::default();
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_790_000_000_007)));
        let format = if json { LogFormat::Json } else { LogFormat::Text };
        let writer = LineWriter::start(sink.clone(), format, Arc::new(Counters::default())).unwrap();
        let routes = vec!["/".into(), "a.example/b".into()];
        let traffic = Rc::new(counting::traffic(&routes).worker());
        let log = AccessLog::new(Some(writer.handle()), json, clock.clone(), &routes, traffic);
        fill(&log, &clock);
        drop(log);
        drop(writer);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(without_duration).collect()
    }

    fn without_duration(line: &str) -> String {
        let at = line.find("ms=").or_else(|| line.find("\"ms\":")).unwrap();
        let digits = at + line[at..].find(|c: char| c.is_ascii_digit()).unwrap();
        let end = digits + line[digits..].find([',', ' ']).unwrap();
        format!("{}…{}", &line[..digits], &line[end..])
    }

    fn entry(target: &str) -> Entry {
        let id = RequestId::told(b"id1").unwrap();
        let (method, target) = (Some(Method::GET), Some(target.parse().unwrap()));
        Entry { method, target, ..Entry::new(id, IpAddr::from([192, 0, 2, 1])) }
    }

    fn path_of(target: &str) -> String {
        path(&entry(target)).into_owned()
    }

    #[test]
    fn a_line_of_json_has_its_fields_in_a_fixed_order() {
        let lines = written(true, |log, _| {
            let full = Entry {
                route: Some(1),
                endpoint: Some("verify"),
                tls: Some("1.3"),
                app: Some(AppId::parse("wx1").unwrap()),
                status: Some(StatusCode::BAD_GATEWAY),
                code: Some("wechat_unreachable"),
                cause: Some("a: b".to_owned()),
                bytes: 12,
                complete: true,
                upstream: Some(Duration::from_micros(1_500)),
                ..entry("/a/b?token=secret")
            };
            Ticket::new(Rc::clone(log), full);
        });
        assert_eq!(
            lines,
            [
                r#"{"ts":"2026-09-21T14:13:20.007Z","kind":"access","id":"id1","client":"192.0.2.1","tls":"1.3","method":"GET","path":"/a/b","route":"a.example/b","endpoint":"verify","app":"wx1","status":502,"code":"wechat_unreachable","cause":"a: b","bytes":12,"ms":…,"upstream_ms":1.500,"complete":true}"#
            ]
        );
    }

    #[test]
    fn a_line_of_text_has_the_same() {
        let lines = written(false, |log, _| {
            Ticket::new(Rc::clone(log), Entry { status: Some(StatusCode::OK), ..entry("/") });
        });
        assert_eq!(
            lines,
            [
                r#"ts="2026-09-21T14:13:20.007Z" kind="access" id="id1" client="192.0.2.1" method="GET" path="/" status=200 bytes=0 ms=… complete=false"#
            ]
        );
    }

    #[test]
    fn who_left_before_the_answer_is_499_and_what_was_no_request_has_no_path() {
        let lines = written(false, |log, _| {
            Ticket::new(Rc::clone(log), entry("/"));
            let id = RequestId::told(b"id2").unwrap();
            Ticket::new(Rc::clone(log), Entry::new(id, IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])));
        });
        assert!(lines[0].contains(r#"path="/" status=499 "#), "{lines:?}");
        assert!(lines[1].contains(r#"client="::1" method="-" path="-" status=499 "#), "{lines:?}");
    }

    #[test]
    fn the_time_goes_on() {
        let lines = written(false, |log, clock| {
            for millis in [0, 992, 1, 1_000] {
                clock.advance(Duration::from_millis(millis));
                Ticket::new(Rc::clone(log), entry("/"));
            }
        });
        let times: Vec<&str> = lines.iter().map(|line| &line[15..28]).collect();
        assert_eq!(times, ["14:13:20.007Z", "14:13:20.999Z", "14:13:21.000Z", "14:13:22.000Z"]);
    }

    #[test]
    fn no_text_ends_its_field_or_its_line_or_moves_a_cursor() {
        let texts =
            ["\" x=\"1", "a\r\nb", "\\", "\u{7f}\u{1b}[31m", "\u{85}\u{9b}\u{2028}\u{202e}", "é不\u{1f600}", " ~"];
        for json in [true, false] {
            for text in texts {
                let lines = written(json, |log, _| {
                    Ticket::new(Rc::clone(log), Entry { cause: Some(text.to_owned()), ..entry("/") });
                });
                assert_eq!(lines.len(), 1, "{lines:?}");
                assert!(lines[0].replace('…', "").bytes().all(|b| (b' '..=b'~').contains(&b)), "{lines:?}");
                let (_, tail) = lines[0].split_once(if json { "\"cause\":" } else { "cause=" }).unwrap();
                let (value, _) = tail.split_once(if json { ",\"bytes\"" } else { " bytes=" }).unwrap();
                assert_eq!(serde_json::from_str::<String>(value).unwrap(), text, "{lines:?}");
            }
        }
    }

    #[test]
    fn a_token_in_a_path_is_cut_to_its_prefix() {
        assert_eq!(path_of("/orders/7?x=wxg_abc"), "/orders/7");
        assert_eq!(path_of("/o/wxg_0aZ-_9/x"), "/o/wxg_***/x");
        assert_eq!(path_of("/wxg_a,wxg_b"), "/wxg_***,wxg_***");
        assert_eq!(path_of("/wxg_a%20b"), "/wxg_*** b");
        assert_eq!(path_of("/%77xg%5Fabc%41/x%20y"), "/wxg_***/x y");
        assert_eq!(path_of("/a%20b/wx%67"), "/a%20b/wx%67");
        assert_eq!(path_of("/wxg_wxg_secret"), "/wxg_***wxg_***");
    }

    #[test]
    fn a_log_that_is_turned_off_takes_lines_and_writes_none() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)));
        let log = AccessLog::new(None, true, clock, &[], Rc::new(counting::traffic(&[]).worker()));
        Ticket::new(Rc::clone(&log), entry("/"));
        log.flush();
    }
}
