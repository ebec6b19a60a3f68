//! The endpoints that wxgate answers itself: decode, call, encode; no decisions.
//!
//! | path under the prefix | method | does |
//! |---|---|---|
//! | `/verify` | POST | login code → session → token |
//! | `/session` | GET, HEAD | how the caller's session stands |
//! | `/logout` | POST | ends this session, or all of the user's |
//! | `/profile` | GET, HEAD, PUT, DELETE | what the caller has told of himself |
//! | `/phone` | POST, DELETE | the phone button's code becomes the caller's phone number |
//! | `/profile/avatar` | POST | a picture becomes the caller's |
//! | `/avatars/…` | GET, HEAD | a picture, for anybody |
//! | `/authorize` | GET, POST, HEAD | whether a request may pass that another proxy holds |
//!
//! And `/.well-known/jwks.json`, GET and HEAD, where identity is signed: the public keys.

mod authorize;
mod avatar;
mod error;
mod form;
mod input;
mod jwks;
mod logout;
mod phone;
mod profile;
mod session;
mod verify;

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};

use crate::{
    auth::Access,
    avatar::Avatars,
    limit::EndpointLimits,
    login::Login,
    model::{AppId, Clock},
    phone::Phones,
    profile::Profiles,
    session::Sessions,
    telemetry::Counters,
    web::{RequestBody, endpoints},
};

pub use error::{Error, LoginFailure, PhoneFailure};

/// What is answered here, and by which method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /v1/verify`
    Verify,
    /// `GET /v1/session`, and HEAD
    Session,
    /// `POST /v1/logout`
    Logout,
    /// `GET /v1/profile`, HEAD, PUT and DELETE
    Profile,
    /// `POST /v1/phone` and DELETE
    Phone,
    /// `POST /v1/profile/avatar`
    Avatar,
    /// `GET /v1/avatars/…`, and HEAD
    Picture,
    /// `GET /v1/authorize`, POST and HEAD
    Authorize,
    /// `GET /.well-known/jwks.json`, and HEAD
    Jwks,
}

impl Endpoint {
    const ALL: [(&'static str, Endpoint); 7] = [
        (endpoints::VERIFY, Endpoint::Verify),
        (endpoints::SESSION, Endpoint::Session),
        (endpoints::LOGOUT, Endpoint::Logout),
        (endpoints::PROFILE, Endpoint::Profile),
        (endpoints::PHONE, Endpoint::Phone),
        (endpoints::AVATAR, Endpoint::Avatar),
        (endpoints::AUTHORIZE, Endpoint::Authorize),
    ];

    /// Whether a live session is asked for by the endpoint itself.
    pub fn needs_session(self) -> bool {
        match self {
            Endpoint::Verify | Endpoint::Authorize | Endpoint::Picture | Endpoint::Jwks => false,
            Endpoint::Session | Endpoint::Logout | Endpoint::Profile | Endpoint::Avatar | Endpoint::Phone => true,
        }
    }

    /// What all of them are called in the log.
    pub fn labels() -> [&'static str; 9] {
        let all = [
            Self::Verify,
            Self::Session,
            Self::Logout,
            Self::Profile,
            Self::Avatar,
            Self::Picture,
            Self::Phone,
            Self::Authorize,
            Self::Jwks,
        ];
        all.map(Self::label)
    }

    /// What it is called in the log.
    pub fn label(self) -> &'static str {
        match self {
            Endpoint::Verify => "verify",
            Endpoint::Session => "session",
            Endpoint::Logout => "logout",
            Endpoint::Profile => "profile",
            Endpoint::Phone => "phone",
            Endpoint::Avatar => "avatar",
            Endpoint::Picture => "picture",
            Endpoint::Authorize => "authorize",
            Endpoint::Jwks => "jwks",
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// What was found out about the session; anonymous where none is needed.
    pub access: &'a Access,
    /// The client's address, as the trusted proxies tell it.
    pub ip: IpAddr,
}

/// The endpoints with all they need.
#[derive(Debug)]
pub struct Api {
    prefix: String,
    apps: Vec<AppId>,
    login: Arc<Login>,
    sessions: Arc<Sessions>,
    profiles: Arc<Profiles>,
    phones: Arc<Phones>,
    avatars: Option<Arc<Avatars>>,
    limits: EndpointLimits,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    jwks: Option<Bytes>,
}

/// What the endpoints call on.
#[derive(Debug)]
pub struct Services {
    /// Makes sessions of login codes.
    pub login: Arc<Login>,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The profiles.
    pub profiles: Arc<Profiles>,
    /// Makes phone numbers of phone codes.
    pub phones: Arc<Phones>,
    /// The pictures, where users may upload any.
    pub avatars: Option<Arc<Avatars>>,
    /// How often they may be asked.
    pub limits: EndpointLimits,
}

impl Api {
    /// The endpoints under `prefix`, for users of `apps`.
    pub fn new(
        prefix: &str,
        apps: Vec<AppId>,
        services: Services,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
    ) -> Self {
        let Services { login, sessions, profiles, phones, avatars, limits } = services;
        Self {
            prefix: prefix.to_owned(),
            apps,
            login,
            sessions,
            profiles,
            phones,
            avatars,
            limits,
            clock,
            counters,
            jwks: None,
        }
    }

    /// The same with these public keys to publish.
    #[must_use]
    pub fn publishing(self, jwks: Option<Bytes>) -> Self {
        Self { jwks, ..self }
    }

    /// Which endpoint a canonical path names. Only exact paths are ours, and where there are pictures all in their folder.
    pub fn endpoint(&self, path: &str) -> Option<Endpoint> {
        if let Some(rest) = path.strip_prefix(self.prefix.as_str()) {
            if let Some((_, endpoint)) = Endpoint::ALL.iter().find(|(path, _)| *path == rest) {
                return Some(*endpoint);
            }
            if self.avatars.is_some() && rest.starts_with(endpoints::AVATARS) {
                return Some(Endpoint::Picture);
            }
        }
        (self.jwks.is_some() && path == endpoints::JWKS).then_some(Endpoint::Jwks)
    }

    /// The methods of the endpoint at this path, as `Allow` lists them.
    pub fn methods(&self, path: &str) -> &'static str {
        // Keys and pictures can only be looked at.
        endpoints::methods_of(&self.prefix, path).unwrap_or(endpoints::LOOK)
    }

    /// Answers.
    pub async fn answer(
        &self,
        endpoint: Endpoint,
        request: Request<RequestBody>,
        caller: Caller<'_>,
    ) -> Result<Response<Bytes>, Error> {
        match endpoint {
            Endpoint::Verify => verify::answer(self, request.into_body(), caller.ip).await,
            Endpoint::Session => session::answer(self, caller.access),
            Endpoint::Logout => logout::answer(self, request.into_body(), caller.access).await,
            Endpoint::Profile => profile::answer(self, request, caller.access).await,
            Endpoint::Phone => phone::answer(self, request, caller.access).await,
            Endpoint::Avatar => avatar::upload(self, request, caller.access).await,
            Endpoint::Picture => avatar::picture(self, &request).await,
            Endpoint::Authorize => Ok(authorize::answer()),
            Endpoint::Jwks => Ok(jwks::answer(self)),
        }
    }
}

/// A 200 with a JSON body that no cache may keep.
fn json(value: &impl serde::Serialize) -> Result<Response<Bytes>, Error> {
    let body = serde_json::to_vec(value).map_err(Error::Encode)?;
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
