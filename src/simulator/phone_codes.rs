//! Codes of the phone button: each is good once, for five minutes, for one phone number in one app. They are no login codes.

use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json};

use crate::model::Timestamp;

/// Below so many codes nobody looks for expired ones.
const SWEEP_FROM: usize = 10_000;

/// A number as its user has it: without the country, and the country.
#[derive(Clone)]
pub(super) struct Number {
    pub(super) pure: String,
    pub(super) country: String,
}

/// The codes that were handed out.
#[derive(Default)]
pub(super) struct PhoneCodes(HashMap<String, PhoneCode>);

struct PhoneCode {
    app: String,
    number: Number,
    made: Timestamp,
    burnt: bool,
}

impl PhoneCodes {
    /// What a tap on the button does: from now on `code` stands for `number`.
    pub(super) fn learn(&mut self, code: &str, app: &str, number: Number, now: Timestamp, lifetime: Duration) {
        if self.0.len() >= SWEEP_FROM {
            self.0.retain(|_, code| now.since(code.made) < lifetime);
        }
        self.0.insert(code.to_owned(), PhoneCode { app: app.to_owned(), number, made: now, burnt: false });
    }

    /// Spends a code for what stands in `phone_info`. A code that was looked at is burnt unless `burns_code` is false.
    pub(super) fn spend(
        &mut self,
        code: &str,
        app: &str,
        now: Timestamp,
        lifetime: Duration,
        burns_code: bool,
    ) -> Result<Value, i64> {
        let found = self.0.get_mut(code).ok_or(40029)?;
        if found.app != app {
            return Err(40013);
        }
        let is_dead = found.burnt || now.since(found.made) >= lifetime;
        found.burnt |= burns_code;
        if is_dead { Err(40029) } else { Ok(found.told()) }
    }
}

impl PhoneCode {
    /// A number from abroad carries its country.
    fn told(&self) -> Value {
        let Number { pure, country } = &self.number;
        let whole = if country == "86" { pure.clone() } else { format!("+{country}{pure}") };
        json!({
            "phoneNumber": whole, "purePhoneNumber": pure, "countryCode": country,
            "watermark": { "timestamp": self.made.as_secs(), "appid": self.app }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_mins(5);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn codes() -> PhoneCodes {
        let mut codes = PhoneCodes::default();
        for (code, pure, country) in [("a", "13800000000", "86"), ("b", "5550100", "1")] {
            codes.learn(code, "wx1", Number { pure: pure.into(), country: country.into() }, at(1000), LIFE);
        }
        codes
    }

    #[test]
    fn a_code_tells_a_number_once_and_only_one_from_abroad_carries_its_country() {
        let mut codes = codes();
        let home = codes.spend("a", "wx1", at(1001), LIFE, true).unwrap();
        assert_eq!((&home["phoneNumber"], &home["countryCode"]), (&json!("13800000000"), &json!("86")));
        assert_eq!(home["watermark"], json!({ "timestamp": 1000, "appid": "wx1" }));
        assert_eq!(codes.spend("b", "wx1", at(1001), LIFE, true).unwrap()["phoneNumber"], "+15550100");
        assert_eq!(codes.spend("a", "wx1", at(1001), LIFE, true), Err(40029));
    }

    #[test]
    fn a_code_that_is_unknown_too_old_or_another_apps_tells_nothing() {
        let mut codes = codes();
        assert_eq!(codes.spend("c", "wx1", at(1001), LIFE, true), Err(40029));
        assert_eq!(codes.spend("a", "wx2", at(1001), LIFE, true), Err(40013));
        assert_eq!(codes.spend("a", "wx1", at(1300), LIFE, true), Err(40029));
    }
}
