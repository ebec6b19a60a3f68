//! `[api]`: where wxgate's own endpoints stand.

use crate::config::{fields::Fields, paths::canonical, sections::Api};

pub(super) fn api(mut fields: Fields<'_, '_>) -> Api {
    let prefix = fields.parsed("prefix", Api::default().prefix, |text| {
        if text == "/" {
            return Err("would lie over every other path; write /v1 or another name".to_owned());
        }
        canonical(text)?;
        if text.ends_with('/') {
            return Err("must not end with /".to_owned());
        }
        if text.contains(['%', ';']) {
            return Err("must do without % and ;".to_owned());
        }
        Ok(text.to_owned())
    });
    fields.finish();
    Api { prefix }
}
