//! The trust boundary: who calls, told to the upstream by us alone. What the client says by these names is left out, on every route.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    assertion::{self, Assertions},
    auth::{Access, carriers},
    config::sections::{self, IdentityHeaders, PlatformKind},
    model::{AppId, PhoneNumber, Session},
    web::headers::X_WX_SOURCE,
};

/// What a request that carries an identity came from: in `CloudRun`'s words, and in the same manner where it is not WeChat.
const WECHAT: HeaderValue = HeaderValue::from_static("wx_client");
const DOUYIN: HeaderValue = HeaderValue::from_static("tt_client");

/// An app as header values. There are few of them, and making one per request costs two allocations.
#[derive(Debug)]
struct App {
    id: AppId,
    value: HeaderValue,
    source: HeaderValue,
}

/// The names only we may use.
#[derive(Debug)]
pub(super) struct Headers {
    names: IdentityHeaders,
    apps: Vec<App>,
    /// Who signs what is told, where it is to be signed.
    assertions: Option<Assertions>,
}

impl Headers {
    pub(super) fn new(names: &IdentityHeaders, apps: &[sections::App], assertions: Option<Assertions>) -> Self {
        Self { names: names.clone(), apps: apps.iter().filter_map(App::of).collect(), assertions }
    }

    /// Whether a name is one of ours, or could be taken for one: CGI and its heirs write `_` for `-`, some for any mark
    /// at all, and names beginning with `X-WX-` are `CloudRun`'s, which a backend may believe even where we don't set them.
    pub(super) fn owns(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        begins_like(name, b"x-wx-")
            || [&self.names.openid, &self.names.app_id, &self.names.unionid, &self.names.phone]
                .into_iter()
                .chain(self.assertions.as_ref().map(Assertions::header))
                .any(|ours| name.len() == ours.as_str().len() && begins_like(name, ours.as_str().as_bytes()))
    }

    /// Sets exactly one value for what is known, and nothing for what is not: absent means anonymous. Of every name here
    /// the client's own lines must be left out. Where identity is to be signed and can't be, nothing is to go upstream.
    pub(super) fn tell(
        &self,
        mut tell: impl FnMut(&HeaderName, &HeaderValue),
        access: &Access,
        phone: Option<&PhoneNumber>,
        upstream: usize,
    ) -> Result<(), assertion::Error> {
        let Some(session) = access.session() else { return Ok(()) };
        if let Some(mut number) = phone.and_then(|phone| HeaderValue::from_str(phone.whole()).ok()) {
            number.set_sensitive(true);
            tell(&self.names.phone, &number);
        }
        self.tell_of(tell, session, upstream)
    }

    /// Forgets what is too old to be told.
    pub(super) fn sweep(&self) {
        if let Some(assertions) = &self.assertions {
            assertions.sweep();
        }
    }

    fn tell_of(
        &self,
        mut tell: impl FnMut(&HeaderName, &HeaderValue),
        session: &Session,
        upstream: usize,
    ) -> Result<(), assertion::Error> {
        let identity = session.identity();
        let known = self.apps.iter().find(|app| app.id == identity.user.app);
        // A session may be of an app that is no longer configured.
        let unknown = if known.is_none() { app_value(&identity.user.app) } else { None };
        let app = known.map(|app| &app.value).or(unknown.as_ref());
        let openid = HeaderValue::from_maybe_shared(identity.user.openid.as_bytes().clone()).ok();
        let unionid = identity.unionid.as_ref().map(|id| id.as_bytes().clone());
        let unionid = unionid.and_then(|id| HeaderValue::from_maybe_shared(id).ok());
        // The three are visible ASCII by their types, so none of them fails.
        let told =
            [(&self.names.openid, openid.as_ref()), (&self.names.app_id, app), (&self.names.unionid, unionid.as_ref())];
        for (name, value) in told {
            if let Some(value) = value {
                tell(name, value);
            }
        }
        // Of which platform such an app was is not known any more.
        if let Some(app) = known {
            tell(&X_WX_SOURCE, &app.source);
        }
        if let Some(assertions) = &self.assertions {
            tell(assertions.header(), &assertions.tell(session, upstream)?);
        }
        Ok(())
    }

    /// The same for another proxy, which copies it. Each name is there, empty where nothing is known: a proxy that finds
    /// no header to copy may leave what the client sent under its name.
    pub(super) fn tell_in_full(
        &self,
        headers: &mut HeaderMap,
        access: &Access,
        phone: Option<&PhoneNumber>,
        upstream: usize,
    ) -> Result<(), assertion::Error> {
        let signed = self.assertions.as_ref().map(Assertions::header);
        let names = [&self.names.openid, &self.names.app_id, &self.names.unionid, &self.names.phone, &X_WX_SOURCE];
        for name in names.into_iter().chain(signed) {
            headers.insert(name.clone(), HeaderValue::from_static(""));
        }
        self.tell(|name, value| drop(headers.insert(name.clone(), value.clone())), access, phone, upstream)
    }
}

impl App {
    fn of(app: &sections::App) -> Option<Self> {
        let source = match app.platform {
            PlatformKind::WeChat => WECHAT,
            PlatformKind::Douyin => DOUYIN,
        };
        Some(Self { id: app.app_id.clone(), value: app_value(&app.app_id)?, source })
    }
}

fn app_value(app: &AppId) -> Option<HeaderValue> {
    HeaderValue::from_str(app.as_str()).ok()
}

/// Whether this header carries the session token. What is in it was read long before, in `auth`.
pub(super) fn is_credentials(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION
}

/// Whether this line tells of a URL that has a session token in its query: that of the page that the client comes from.
pub(super) fn tells_a_token(name: &HeaderName, line: &HeaderValue) -> bool {
    *name == header::REFERER && carriers::holds_a_token(line.as_bytes())
}

/// Whether `name` begins with `ours`, where one mark is as good as another. Both are lower case already.
fn begins_like(name: &[u8], ours: &[u8]) -> bool {
    name.len() >= ours.len() && name.iter().zip(ours).all(|(a, b)| a == b || (is_separator(*a) && is_separator(*b)))
}

fn is_separator(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        assertion::Signer,
        model::{Identity, ManualClock, OpenId, Secret, SigningKey, Terms, Timestamp, TokenDigest, UserKey, UserTag},
    };

    fn headers() -> Headers {
        let names = IdentityHeaders { openid: HeaderName::from_static("my-user"), ..IdentityHeaders::default() };
        Headers::new(&names, &[], None)
    }

    #[test]
    fn whatever_could_be_read_as_ours_is_ours() {
        for name in [
            "my-user",
            "my_user",
            "x-wx-openid",
            "x_wx_openid",
            "x-wx_openid",
            "X_WX-Anything",
            "x-wx-source",
            "x.wx~openid",
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert!(headers().owns(&name), "{name}");
        }
    }

    #[test]
    fn a_caller_whose_identity_can_not_be_signed_is_told_of_to_nobody() {
        let key = SigningKey::parse(&Secret::new(include_str!("../../tests/keys/ed25519.pem"))).unwrap();
        let signer = Signer::new(&sections::Assertion::new("https://gate.example.com", key), &[]).unwrap();
        let now = Timestamp::from_millis(1_790_000_000_000);
        let assertions = Assertions::new(Arc::new(signer), Arc::new(ManualClock::starting_at(now)));
        let headers = Headers::new(&IdentityHeaders::default(), &[], Some(assertions));

        let user = UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse("oAlice").unwrap() };
        let terms = Terms { idle: Duration::from_hours(1), lifetime: Duration::from_hours(1) };
        let (digest, tag) = (TokenDigest::new([7; 32]), UserTag::new([0; 8]));
        let session = Session::begin(Identity { user, unionid: None }, digest, tag, terms, now);
        let told = headers.tell_of(|_, _| {}, &session, 0);
        assert!(matches!(told, Err(assertion::Error::NoUpstream)), "{told:?}");
    }

    #[test]
    fn the_callers_own_headers_stay() {
        for name in ["my-users", "x-wxyz", "user", "x-w-x-openid", "x-wx"] {
            assert!(!headers().owns(&HeaderName::from_static(name)), "{name}");
        }
    }
}
