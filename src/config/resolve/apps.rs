//! `[[apps]]`: the Mini Programs, and who answers for them.

use url::Url;

use super::across::Named;
use crate::{
    config::{
        fields::{At, Fields},
        sections::App,
    },
    model::{AppId, AppSecret},
};

pub(super) fn apps(root: &mut Fields<'_, '_>) -> Vec<Named<App>> {
    let tables = root.tables("apps");
    tables.into_iter().map(|At { line, value }| app(root.item("apps", line, value))).collect()
}

fn app(mut fields: Fields<'_, '_>) -> Named<App> {
    let app_id = app_id(&mut fields);
    if !fields.has("secret") {
        fields.error(fields.line, "secret", "missing; write secret = { env = \"NAME\" } or { file = \"path\" }");
    }
    let secret = fields.secret("secret");
    let api_base = api_base(&mut fields);
    fields.finish();
    let name = app_id.as_ref().map(|At { line, value }| At { line: *line, value: value.as_str().to_owned() });
    let value = match (app_id, secret, api_base) {
        (Some(app_id), Some(secret), Some(api_base)) => {
            Some(App { app_id: app_id.value, secret: AppSecret::new(secret.value.expose()), api_base })
        }
        _ => None,
    };
    Named { name, value }
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
fn api_base(fields: &mut Fields<'_, '_>) -> Option<Url> {
    let given = fields.text("api_base");
    let line = given.as_ref().map_or(fields.line, |text| text.line);
    let text = given.map_or("https://api.weixin.qq.com", |text| text.value);
    let refused = match Url::parse(text) {
        Ok(url) => match base_fault(&url) {
            None => return Some(url),
            Some(fault) => fault,
        },
        Err(_) => "is not a URL (write https://api.weixin.qq.com)",
    };
    fields.error(line, "api_base", refused);
    None
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
