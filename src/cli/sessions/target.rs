//! Which gateway is asked, with which token, and about which app: from the options, and from `gateway.toml` where they
//! leave something open.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use clap::Args;
use url::Url;

use crate::{
    cli::Misused,
    config::{self, Config},
    model::Secret,
};

/// Which gateway, where it is not the one of `gateway.toml`.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// The operators' listener, if not the one of gateway.toml: `http://127.0.0.1:9901`
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// The environment variable with the admin token, if not the token of gateway.toml
    #[arg(long, value_name = "NAME")]
    pub token_env: Option<String>,
}

/// Which app a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// None.
    NoApp,
    /// This one.
    App(&'a str),
    /// The only one that is configured.
    TheOnlyApp,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(given: Option<&'a str>) -> Self {
        given.map_or(Self::TheOnlyApp, Self::App)
    }
}

/// Everything that has to be known before a gateway can be asked.
pub(super) struct Target {
    pub(super) base: Url,
    pub(super) token: Secret,
    /// Empty where no app is needed.
    pub(super) app: String,
}

impl Target {
    /// The configuration is read only if something is left open, so that a gateway elsewhere can be asked without its file.
    pub(super) fn of(path: &Path, args: &TargetArgs, app: Wanted<'_>) -> anyhow::Result<Self> {
        let open = args.admin.is_none() || args.token_env.is_none() || app == Wanted::TheOnlyApp;
        let config = if open { Some(config::load(path)?.config) } else { None };
        let base = match (&args.admin, &config) {
            (Some(url), _) => given(url)?,
            (None, Some(config)) => listener(config.admin.listen)?,
            (None, None) => return Err(missing("--admin")),
        };
        Ok(Self { base, token: token(args, config.as_ref())?, app: the_app(app, config.as_ref())? })
    }
}

fn token(args: &TargetArgs, config: Option<&Config>) -> anyhow::Result<Secret> {
    let Some(name) = &args.token_env else {
        let unset =
            || Misused("no admin.token is configured, so the gateway answers nobody; or say --token-env".into());
        let token = config.and_then(|config| config.admin.token.clone());
        return token.ok_or_else(|| unset().into());
    };
    let token = config::secret_of(name);
    token.ok_or_else(|| Misused(format!("the environment variable {name} is not set")).into())
}

fn the_app(wanted: Wanted<'_>, config: Option<&Config>) -> anyhow::Result<String> {
    match (wanted, config.map(|config| config.apps.as_slice())) {
        (Wanted::NoApp, _) => Ok(String::new()),
        (Wanted::App(app), _) => Ok(app.to_owned()),
        (Wanted::TheOnlyApp, Some([only])) => Ok(only.app_id.to_string()),
        (Wanted::TheOnlyApp, Some(apps)) => {
            let ids: Vec<String> = apps.iter().map(|app| app.app_id.to_string()).collect();
            Err(Misused(format!("several apps are configured; say --app, one of {}", ids.join(", "))).into())
        }
        (Wanted::TheOnlyApp, None) => Err(missing("--app")),
    }
}

fn missing(option: &str) -> anyhow::Error {
    Misused(format!("say {option}")).into()
}

/// A URL that leads to a listener and holds nothing else. What it says beyond that may be a secret, so it is not repeated;
/// clap would repeat what it can't read, so it is read here.
fn given(text: &str) -> anyhow::Result<Url> {
    let wrong = |why: &str| Misused(format!("--admin {why}; it must be like http://127.0.0.1:9901"));
    let url = Url::parse(text).map_err(|error| wrong(&format!("is no URL ({error})")))?;
    let faults = [
        (!matches!(url.scheme(), "http" | "https"), "is neither http nor https"),
        (!url.username().is_empty() || url.password().is_some(), "has a user or a password in it"),
        (!matches!(url.path(), "" | "/"), "has a path"),
        (url.query().is_some() || url.fragment().is_some(), "has a ? or a # in it"),
    ];
    match faults.iter().find(|(found, _)| *found) {
        Some((_, why)) => Err(wrong(why).into()),
        None => Ok(url),
    }
}

/// Where to reach a listener from its own machine.
fn listener(listen: SocketAddr) -> anyhow::Result<Url> {
    if listen.port() == 0 {
        return Err(Misused("admin.listen has port 0, which is another one at each start; say --admin".into()).into());
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok(Url::parse(&format!("http://{}", SocketAddr::new(ip, listen.port())))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(admin: Option<&str>) -> TargetArgs {
        TargetArgs { admin: admin.map(str::to_owned), token_env: Some("PATH".to_owned()) }
    }

    #[test]
    fn with_everything_given_no_configuration_is_read() {
        let nowhere = Path::new("there/is/no/such.toml");
        let target = Target::of(nowhere, &args(Some("http://10.0.0.1:9901")), Wanted::App("wx1")).unwrap();
        assert_eq!((target.base.as_str(), target.app.as_str()), ("http://10.0.0.1:9901/", "wx1"));
        assert!(Target::of(nowhere, &args(Some("http://10.0.0.1:9901")), Wanted::NoApp).is_ok());
        assert!(Target::of(nowhere, &args(None), Wanted::NoApp).is_err());
        assert!(Target::of(nowhere, &args(Some("http://10.0.0.1:9901")), Wanted::TheOnlyApp).is_err());
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        let url = |addr: &str| listener(addr.parse().unwrap()).map(|url| url.to_string());
        assert_eq!(url("127.0.0.1:9901").unwrap(), "http://127.0.0.1:9901/");
        assert_eq!(url("0.0.0.0:9901").unwrap(), "http://127.0.0.1:9901/");
        assert_eq!(url("[::]:9901").unwrap(), "http://[::1]:9901/");
        assert_eq!(url("10.0.0.5:80").unwrap(), "http://10.0.0.5/");
        assert!(url("127.0.0.1:0").is_err());
    }

    #[test]
    fn a_url_with_more_in_it_than_an_address_is_refused_and_not_repeated() {
        for (url, why) in [
            ("ftp://hunter2", "neither http nor https"),
            ("http://u:hunter2@h", "a password"),
            ("http://hunter2@h", "a user"),
            ("http://h/hunter2", "a path"),
            ("http://h?hunter2", "a ?"),
            ("http://h#hunter2", "a #"),
            ("//u:hunter2@h", "no URL"),
            ("http://u:hunter2@", "no URL"),
            ("http://u:hunter2@h:port", "no URL"),
            ("http://[hunter2", "no URL"),
        ] {
            let error = given(url).unwrap_err();
            let told = format!("{error:#}");
            assert!(error.is::<Misused>() && told.contains(why) && !told.contains("hunter2"), "{url}: {told}");
        }
    }
}
