//! Every metric there is, read out at the moment somebody asks. `docs/METRICS.md` lists them; names and labels are the
//! interface.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use crate::{
    model::{CertificateShelf, Timestamp},
    telemetry::{Counted, Counter, Counters, Place, Reading, TUNNEL_ENDS, Traffic, TunnelCounts},
    upstream::{ServerStatus, Standing, Status, Upstreams},
};

/// Turns what was counted into metrics.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) counters: Arc<Counters>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) upstreams: Arc<Upstreams>,
    /// How many sessions there are, where the store said so when it was last asked.
    pub(super) live: Arc<Mutex<Option<u64>>>,
    pub(super) started: Timestamp,
    /// The certificates that clients are shown, where there are any.
    pub(super) certificates: Option<Arc<CertificateShelf>>,
    /// Whether there is a listener for backends.
    pub(super) backends: bool,
    /// The certificate that they are shown, where they are.
    pub(super) backends_certificates: Option<Arc<CertificateShelf>>,
}

impl Collector for Report {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.process(&mut page)?;
        let counted = self.traffic.read();
        requests(&mut page, &counted)?;
        tunnels(&mut page, &counted.tunnels)?;
        let broken = self.counters.http2_broken.each();
        page.counters("connections_broken", "Connections over HTTP/2 that were ended, by why", "outcome", &broken)?;
        let headers = self.counters.proxy_headers.each();
        page.counters("proxy_headers", "Connections behind a PROXY header, by what became of it", "outcome", &headers)?;
        self.tls(&mut page)?;
        self.backends(&mut page)?;
        upstreams(&mut page, &self.upstreams.status())?;
        self.logins(&mut page, &counted)?;
        self.sessions(&mut page)?;
        self.avatars(&mut page)?;
        self.store(&mut page)?;
        self.webhook(&mut page)
    }
}

impl Report {
    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.family("build", "Which wxgate this is", None, MetricType::Info)?.encode_info(&version)?;
        let started = Duration::from_millis(self.started.as_millis()).as_secs_f64();
        let help = "When this process began to serve, in seconds since the Unix epoch";
        ConstGauge::new(started).encode(page.family("start_time", help, Some(&Unit::Seconds), MetricType::Gauge)?)?;
        self.config(page)?;
        let dropped = &self.counters.log_lines_dropped;
        page.counter("log_lines_dropped", "Access log lines the writer could not keep up with", dropped)
    }

    fn config(&self, page: &mut Page<'_>) -> fmt::Result {
        let config = &self.counters.config;
        let help = "Whether the configuration that was read last could be used";
        page.gauge("config_last_reload_successful", help, config.is_taken().into())?;
        let (name, help) = ("config_last_reload_success_timestamp", "When the configuration in use was read");
        let family = page.family(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(config.read_at().as_secs_f64()).encode(family)?;
        page.gauge("config_hash", "A number that is another where the configuration's text is", config.hash())?;
        page.gauge("config_waiting_for_restart", "Keys that a restart would change", config.waiting())
    }

    fn tls(&self, page: &mut Page<'_>) -> fmt::Result {
        if self.certificates.is_some() {
            let handshakes = self.counters.tls_handshakes.each();
            page.counters("tls_handshakes", "Handshakes of clients, by what they came to", "outcome", &handshakes)?;
        }
        if self.backends_certificates.is_some() {
            let handshakes = self.counters.internal.handshakes.each();
            let help = "Handshakes of backends, by what they came to";
            page.counters("internal_tls_handshakes", help, "outcome", &handshakes)?;
        }
        if self.certificates.is_none() && self.backends_certificates.is_none() {
            return Ok(());
        }
        let reloads = &self.counters.certificate_reloads;
        let reloads = [("swapped", reloads.swapped.get()), ("failed", reloads.failed.get())];
        page.counters("tls_certificate_reloads", "Certificates that were read again", "outcome", &reloads)?;
        let help = "When a certificate expires, in seconds since the Unix epoch";
        let name = "tls_certificate_expiry_timestamp";
        let mut family = page.family(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        // Two of the same name, say one with an RSA and one with an ECDSA key, have places of their own.
        let shown = self.certificates.as_ref().map(|shelf| shelf.current());
        let shown = shown.iter().flat_map(|all| all.iter().enumerate()).map(|(place, one)| (place.to_string(), one));
        let backends = self.backends_certificates.as_ref().map(|shelf| shelf.current());
        let backends = backends.iter().flat_map(|all| all.iter()).map(|one| ("internal".to_owned(), one));
        for (place, certificate) in shown.chain(backends) {
            let labels = [("name", certificate.name().to_owned()), ("place", place)];
            ConstGauge::new(certificate.not_after().as_secs()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn backends(&self, page: &mut Page<'_>) -> fmt::Result {
        if !self.backends {
            return Ok(());
        }
        let help = "Requests of backends, by what they were for and what became of them";
        let mut family = page.family("internal_requests", help, None, MetricType::Counter)?;
        let requests = self.counters.internal.requests();
        requests.into_iter().try_for_each(|(path, code, n)| count(&mut family, &[("path", path), ("code", code)], n))
    }

    fn logins(&self, page: &mut Page<'_>, counted: &Counted) -> fmt::Result {
        let c = &self.counters;
        page.counters("logins", "Logins, by what came of them", "outcome", &counted.logins)?;
        page.counter("logins_replayed", "Logins answered from a login just before", &c.logins_replayed)?;
        page.counter("logins_limited", "Logins refused by our own limits", &c.logins_limited)?;
        let calls = c.douyin.each().map(|(outcome, calls)| (outcome, calls.get()));
        page.counters("douyin_calls", "Login codes sent to Douyin, by what came of them", "outcome", &calls)?;
        page.histogram("douyin_call_duration", "How long Douyin took to answer", &c.douyin.took.read())?;
        self.wechat(page)
    }

    fn wechat(&self, page: &mut Page<'_>) -> fmt::Result {
        let calls = self.counters.wechat.each();
        let mut family =
            page.family("wechat_calls", "Calls of WeChat, by what came of them", None, MetricType::Counter)?;
        for (call, calls) in calls {
            for (outcome, n) in calls.each() {
                count(&mut family, &[("call", call), ("outcome", outcome)], n.get())?;
            }
        }
        let help = "How long WeChat took to answer";
        let mut family = page.family("wechat_call_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        calls
            .into_iter()
            .try_for_each(|(call, calls)| encode(family.encode_family(&[("call", call)])?, &calls.took.read()))
    }

    fn sessions(&self, page: &mut Page<'_>) -> fmt::Result {
        let c = &self.counters;
        let lookups = [
            ("hit", c.lookups_hit.get()),
            ("miss", c.lookups_missed.get()),
            ("expired", c.lookups_expired.get()),
            ("denied", c.lookups_denied.get()),
            ("failed", c.lookups_failed.get()),
        ];
        page.counters("session_lookups", "Look-ups of a session, by what came of them", "outcome", &lookups)?;
        page.counter("sessions_issued", "Sessions begun", &c.sessions_issued)?;
        page.counter("sessions_revoked", "Sessions ended on request", &c.sessions_revoked)?;
        page.counter("sessions_evicted", "Live sessions that memory had no room for", &c.sessions_evicted)?;
        // Left out while it is not known: a figure of yesterday would hide that the store is away.
        match *self.live.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(live) => page.gauge("sessions_live", "Sessions in the store", live),
            None => Ok(()),
        }
    }

    fn avatars(&self, page: &mut Page<'_>) -> fmt::Result {
        let uploads = self.counters.avatar_uploads.each();
        page.counters("avatar_uploads", "Pictures that were uploaded, by what came of them", "outcome", &uploads)?;
        let removals = self.counters.avatar_removals.each();
        page.counters("avatar_removals", "Pictures that no profile names any more", "outcome", &removals)
    }

    fn webhook(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = &self.counters.webhook;
        let help = "Changes that were to be told to the webhook, by what came of a try";
        page.counters("webhook_notices", help, "outcome", &counts.each())?;
        page.gauge("webhook_waiting", "Changes that wait to be told to the webhook", counts.waiting())?;
        let (name, help) = ("webhook_oldest_age", "How long the oldest of these has waited");
        let family = page.family(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(counts.oldest().as_secs_f64()).encode(family)
    }

    fn store(&self, page: &mut Page<'_>) -> fmt::Result {
        let calls = self.counters.store.each();
        let help = "How long the session store took to answer";
        let mut family = page.family("store_operation_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (operation, call) in calls {
            encode(family.encode_family(&[("operation", operation)])?, &call.took.read())?;
        }
        let errors = calls.map(|(operation, call)| (operation, call.errors.get()));
        page.counters("store_errors", "Operations that the session store failed", "operation", &errors)
    }
}

fn requests(page: &mut Page<'_>, counted: &Counted) -> fmt::Result {
    let help = "Requests, by route or endpoint and class of status";
    let mut family = page.family("requests", help, None, MetricType::Counter)?;
    for (place, class, n) in &counted.requests {
        let status = ("status", *class);
        match place {
            Place::Route(label) => count(&mut family, &[("route", label.as_str()), status], *n)?,
            Place::Endpoint(name) => count(&mut family, &[("endpoint", *name), status], *n)?,
            Place::Nowhere => count(&mut family, &[status], *n)?,
        }
    }
    let help = "Requests that a limit of their route refused";
    let mut family = page.family("requests_limited", help, None, MetricType::Counter)?;
    for (label, limit, n) in &counted.limited {
        count(&mut family, &[("route", label.as_str()), ("limit", *limit)], *n)?;
    }
    let help = "How long requests took to the head of their answer, without the wait for an upstream";
    page.histogram("own_duration", help, &counted.own)?;
    page.histogram("upstream_duration", "How long upstreams took to the head of their answer", &counted.upstream)?;
    page.gauge("connections_open", "Client connections that are open", counted.open)?;
    let accepted = page.family("connections_accepted", "Client connections that came in", None, MetricType::Counter)?;
    ConstCounter::new(counted.accepted).encode(accepted)
}

fn tunnels(page: &mut Page<'_>, counted: &TunnelCounts) -> fmt::Result {
    page.gauge("websockets_open", "WebSockets that are open", counted.open)?;
    let ended: Vec<_> = TUNNEL_ENDS.into_iter().zip(counted.ended).collect();
    page.counters("websockets_ended", "WebSockets that have ended, by what ended them", "outcome", &ended)?;
    let help = "Bytes that passed through WebSockets";
    let mut family = page.family("websocket_traffic", help, Some(&Unit::Bytes), MetricType::Counter)?;
    count(&mut family, &[("direction", "received")], counted.received)?;
    count(&mut family, &[("direction", "sent")], counted.sent)
}

fn upstreams(page: &mut Page<'_>, all: &[Status]) -> fmt::Result {
    let per_upstream = |name, help, n: fn(&Status) -> u64, page: &mut Page<'_>| {
        let mut family = page.family(name, help, None, MetricType::Counter)?;
        all.iter().try_for_each(|status| count(&mut family, &[("upstream", status.name.as_str())], n(status)))
    };
    per_upstream("upstream_retries", "Requests sent again on another connection", |status| status.retries, page)?;
    per_upstream("upstream_overloads", "Requests that no connection was free for", |status| status.overloads, page)?;

    let per_server = |name, help, kind, n: fn(&ServerStatus) -> u64, page: &mut Page<'_>| {
        let mut family = page.family(name, help, None, kind)?;
        let servers = all.iter().flat_map(|upstream| upstream.servers.iter().map(move |server| (upstream, server)));
        for (upstream, server) in servers {
            let labels = [("upstream", upstream.name.as_str()), ("server", server.name.as_str())];
            let encoder = family.encode_family(&labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(n(server)).encode(encoder)?,
                _ => ConstGauge::new(n(server)).encode(encoder)?,
            }
        }
        Ok(())
    };
    let takes = |server: &ServerStatus| u64::from(matches!(server.standing, Standing::Up | Standing::SlowStart));
    let gauge = MetricType::Gauge;
    per_server("upstream_server_up", "Whether a server takes requests", gauge, takes, page)?;
    let ejections = |server: &ServerStatus| server.ejections;
    per_server("upstream_ejections", "How often a server was left alone", MetricType::Counter, ejections, page)?;
    let connections = |server: &ServerStatus| server.connections as u64;
    per_server("upstream_connections_open", "Connections to a server that are open", gauge, connections, page)
}

/// The page being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        // A help text is a sentence, as a registry's own metrics have it.
        self.0.encode_descriptor(name, &format!("{help}."), unit, kind)
    }

    fn counter(&mut self, name: &str, help: &str, counter: &Counter) -> fmt::Result {
        ConstCounter::new(counter.get()).encode(self.family(name, help, None, MetricType::Counter)?)
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, counts: &[(&str, u64)]) -> fmt::Result {
        let mut family = self.family(name, help, None, MetricType::Counter)?;
        counts.iter().try_for_each(|(value, n)| count(&mut family, &[(label, *value)], *n))
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstGauge::new(value).encode(self.family(name, help, None, MetricType::Gauge)?)
    }

    fn histogram(&mut self, name: &str, help: &str, reading: &Reading) -> fmt::Result {
        encode(self.family(name, help, Some(&Unit::Seconds), MetricType::Histogram)?, reading)
    }
}

fn count(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, n: u64) -> fmt::Result {
    ConstCounter::new(n).encode(family.encode_family(labels)?)
}

fn encode(mut encoder: MetricEncoder<'_>, reading: &Reading) -> fmt::Result {
    encoder.encode_histogram::<NoLabelSet>(reading.seconds(), reading.count(), &reading.buckets(), None)
}
