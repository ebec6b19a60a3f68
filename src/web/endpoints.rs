//! The paths that wxgate answers itself, each exact, and what they take. All but one are under the API's prefix.

/// Login: code in, token out.
pub const VERIFY: &str = "/verify";
/// What is known of the caller's session.
pub const SESSION: &str = "/session";
/// The end of it.
pub const LOGOUT: &str = "/logout";
/// What the caller has told of himself.
pub const PROFILE: &str = "/profile";
/// The caller's phone number.
pub const PHONE: &str = "/phone";
/// A picture for the caller's profile.
pub const AVATAR: &str = "/profile/avatar";
/// Whether a request may pass that another proxy holds.
pub const AUTHORIZE: &str = "/authorize";

/// The public keys of signed identity, at a path of its own: this is where libraries look for it (RFC 8615).
pub const JWKS: &str = "/.well-known/jwks.json";
/// Pictures, each under its name. They are there only where users may upload some.
pub const AVATARS: &str = "/avatars/";
/// What can be looked at and nothing else takes.
pub const LOOK: &str = "GET, HEAD";

/// All that stand under the API's prefix, each with its methods.
pub const ALL: &[(&str, &str)] = &[
    (VERIFY, "POST"),
    (SESSION, "GET, HEAD"),
    (LOGOUT, "POST"),
    (PROFILE, "GET, HEAD, PUT, DELETE"),
    (PHONE, "POST, DELETE"),
    (AVATAR, "POST"),
    (AUTHORIZE, "GET, POST, HEAD"),
];

/// The methods of the endpoint at this canonical path, as an `Allow` header lists them; `None` when it is none of ours.
pub fn methods_of(prefix: &str, path: &str) -> Option<&'static str> {
    let name = path.strip_prefix(prefix)?;
    ALL.iter().find(|(endpoint, _)| *endpoint == name).map(|(_, methods)| *methods)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_paths_are_ours() {
        assert_eq!(methods_of("/v1", "/v1/verify"), Some("POST"));
        assert_eq!(methods_of("/v1", "/v1/session"), Some("GET, HEAD"));
        assert_eq!(methods_of("/v1", "/v1/authorize"), Some("GET, POST, HEAD"));
        for path in ["/v1/verify/", "/v1/verify/x", "/v1/orders", "/v1", "/", "/verify", "/V1/verify", "/v2/verify"] {
            assert_eq!(methods_of("/v1", path), None, "{path}");
        }
        assert_eq!(methods_of("/auth/api", "/auth/api/logout"), Some("POST"));
    }
}
