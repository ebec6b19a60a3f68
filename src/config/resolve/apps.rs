//! `[[apps]]`: the Mini Programs, who answers for them, and how long their users stay logged in.

use url::Url;

use super::{across::Named, sessions::MOST_SESSIONS, webhook::is_here};
use crate::{
    config::{
        fields::{At, Fields},
        sections::{App, PlatformKind, Sessions},
    },
    model::{AppId, AppSecret, Secret},
};

const PLATFORMS: [(&str, PlatformKind); 2] = [("wechat", PlatformKind::WeChat), ("douyin", PlatformKind::Douyin)];

pub(super) fn apps(root: &mut Fields<'_, '_>, sessions: &Sessions) -> Vec<Named<App>> {
    let tables = root.tables("apps");
    tables.into_iter().map(|At { line, value }| app(root.item("apps", line, value), sessions)).collect()
}

fn app(mut fields: Fields<'_, '_>, sessions: &Sessions) -> Named<App> {
    let app_id = app_id(&mut fields);
    let platform = fields.choice("platform", PlatformKind::default(), &PLATFORMS);
    if !fields.has("secret") {
        fields.error(fields.line, "secret", "missing; write secret = { env = \"NAME\" } or { file = \"path\" }");
    }
    let secret = fields.secret("secret");
    let other_secret = other_secret(&mut fields, secret.as_ref());
    let api_base = api_base(&mut fields, platform);
    let idle = fields.duration_if_given("idle");
    let lifetime = fields.duration_if_given("lifetime");
    let per_user = fields.whole_if_given("per_user", 0..=MOST_SESSIONS);
    if lifetime.unwrap_or(sessions.lifetime) < idle.unwrap_or(sessions.idle)
        && let Some(line) = fields.line_of("lifetime").or(fields.line_of("idle"))
    {
        fields.warn(line, "lifetime", "is shorter than the app's idle, which so never ends a session");
    }
    fields.finish();
    let name = app_id.as_ref().map(|At { line, value }| At { line: *line, value: value.as_str().to_owned() });
    let value = match (app_id, secret, api_base) {
        (Some(app_id), Some(secret), Some(api_base)) => Some(App {
            platform,
            other_secret,
            idle,
            lifetime,
            per_user,
            ..App::new(app_id.value, AppSecret::new(secret.value.expose()), api_base)
        }),
        _ => None,
    };
    Named { name, value }
}

fn other_secret(fields: &mut Fields<'_, '_>, secret: Option<&At<Secret>>) -> Option<AppSecret> {
    let At { line, value } = fields.secret("other_secret")?;
    if secret.is_some_and(|secret| secret.value == value) {
        fields.warn(line, "other_secret", "is the same as secret, so that there is nothing else to try");
    }
    Some(AppSecret::new(value.expose()))
}

/// The text is not shown where it is no AppID: people mix the two lines up, and then it is the secret.
fn app_id(fields: &mut Fields<'_, '_>) -> Option<At<AppId>> {
    let At { line, value } = fields.required("app_id", "\"wx…\"")?;
    match AppId::parse(value) {
        Ok(value) => Some(At { line, value }),
        Err(why) => {
            fields.error(line, "app_id", format!("the AppID {why}"));
            None
        }
    }
}

/// The address is not shown where it is refused: it may have a password in it.
fn api_base(fields: &mut Fields<'_, '_>, platform: PlatformKind) -> Option<Url> {
    let given = fields.text("api_base");
    let line = given.as_ref().map_or(fields.line, |text| text.line);
    let text = given.map_or(platform.api_base(), |text| text.value);
    let Ok(url) = Url::parse(text) else {
        fields.error(line, "api_base", format!("is not a URL (write {})", platform.api_base()));
        return None;
    };
    match base_fault(&url) {
        None => {
            if url.scheme() == "http" && !is_here(&url) {
                fields.warn(
                    line,
                    "api_base",
                    "whoever is on the way reads the AppSecret and session_keys; better https://",
                );
            }
            Some(url)
        }
        Some(fault) => {
            fields.error(line, "api_base", fault);
            None
        }
    }
}

fn base_fault(url: &Url) -> Option<&'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Some("must start with https:// or http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not have a user or password in it");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Some("must end with its path; ? and # have no place in it");
    }
    None
}
