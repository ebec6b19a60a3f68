//! The trust boundary: who calls, told to the upstream by us alone. What the client says by these names is left out, on every route.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    assertion::{self, Assertions},
    auth::{Access, carriers},
    config::sections::{self, IdentityHeaders, PlatformKind},
    model::{AppId, PhoneNumber, Session},
    upstream::Fields,
    web::{Lines, headers::X_WX_SOURCE},
};

/// What a request that carries an identity came from: in `CloudRun`'s words, and in the same manner where it is not WeChat.
const WECHAT: HeaderValue = HeaderValue::from_static("wx_client");
const DOUYIN: HeaderValue = HeaderValue::from_static("tt_client");

/// An app, and what is told of whoever comes from it: always the same.
#[derive(Debug)]
struct App {
    id: AppId,
    lines: Lines,
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
        Self { names: names.clone(), apps: apps.iter().map(|app| App::of(app, names)).collect(), assertions }
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
        fields: &mut Fields,
        access: &Access,
        phone: Option<&PhoneNumber>,
        upstream: usize,
    ) -> Result<(), assertion::Error> {
        let Some(session) = access.session() else { return Ok(()) };
        if let Some(phone) = phone {
            self.tell_phone(fields, phone);
        }
        self.tell_of(fields, session, upstream)
    }

    fn tell_phone(&self, fields: &mut Fields, phone: &PhoneNumber) {
        if let Ok(mut number) = HeaderValue::from_str(phone.whole()) {
            // Over HTTP/2 nobody on the way is to remember it.
            number.set_sensitive(true);
            fields.tell(&self.names.phone, &number);
        }
    }

    /// Forgets what is too old to be told.
    pub(super) fn sweep(&self) {
        if let Some(assertions) = &self.assertions {
            assertions.sweep();
        }
    }

    fn tell_of(&self, fields: &mut Fields, session: &Session, upstream: usize) -> Result<(), assertion::Error> {
        let identity = session.identity();
        // All of these are visible ASCII by their types.
        fields.tell_visible(&self.names.openid, identity.user.openid.as_bytes());
        if let Some(unionid) = &identity.unionid {
            fields.tell_visible(&self.names.unionid, unionid.as_bytes());
        }
        match self.apps.iter().find(|app| app.id == identity.user.app) {
            Some(app) => fields.tell_lines(&app.lines),
            // A session may be of an app that is no longer configured. Of which platform that was is not known any more.
            None => fields.tell_visible(&self.names.app_id, identity.user.app.as_str().as_bytes()),
        }
        if let Some(assertions) = &self.assertions {
            fields.tell(assertions.header(), &assertions.tell(session, upstream)?);
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
        let mut fields = Fields::default();
        self.tell(&mut fields, access, phone, upstream)?;
        headers.extend(fields.to_map());
        Ok(())
    }
}

impl App {
    fn of(app: &sections::App, names: &IdentityHeaders) -> Self {
        let source = match app.platform {
            PlatformKind::WeChat => WECHAT,
            PlatformKind::Douyin => DOUYIN,
        };
        let mut lines = Lines::default();
        lines.add_visible(&names.app_id, app.app_id.as_str().as_bytes());
        lines.add(&X_WX_SOURCE, &source);
        Self { id: app.app_id.clone(), lines: lines.packed() }
    }
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
        let told = headers.tell_of(&mut Fields::default(), &session, 0);
        assert!(matches!(told, Err(assertion::Error::NoUpstream)), "{told:?}");
    }

    #[test]
    fn a_phone_number_is_told_in_confidence() {
        let mut fields = Fields::default();
        headers().tell_phone(&mut fields, &PhoneNumber::parse("13800000000", "13800000000", "86").unwrap());
        let told = fields.to_map();
        assert_eq!(told.get("x-wx-phone").map(HeaderValue::as_bytes), Some(&b"13800000000"[..]));
        assert!(told.values().all(HeaderValue::is_sensitive));
    }

    #[test]
    fn the_callers_own_headers_stay() {
        for name in ["my-users", "x-wxyz", "user", "x-w-x-openid", "x-wx"] {
            assert!(!headers().owns(&HeaderName::from_static(name)), "{name}");
        }
    }
}
