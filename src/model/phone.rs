//! A phone number as WeChat tells it, in a type that can't be printed.

use std::fmt;

use super::Secret;

/// Longest form that is taken. The longest number there is has 15 digits.
const MAX_LEN: usize = 32;

/// A text that is not a phone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a phone number")]
pub struct InvalidPhoneNumber;

/// A phone number. Each form can stand in a header as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber {
    whole: Secret,
    pure: Secret,
    country: Secret,
}

impl PhoneNumber {
    /// The number as WeChat gives it, the same without its country, and the country's code.
    pub fn parse(whole: &str, pure: &str, country: &str) -> Result<Self, InvalidPhoneNumber> {
        let is_code = (1..=8).contains(&country.len()) && country.bytes().all(|byte| byte.is_ascii_digit());
        let all_fit = is_number(whole) && is_number(pure) && is_code;
        let held = || Self { whole: Secret::new(whole), pure: Secret::new(pure), country: Secret::new(country) };
        all_fit.then(held).ok_or(InvalidPhoneNumber)
    }

    /// The number; one from abroad with its country.
    pub fn whole(&self) -> &str {
        self.whole.expose()
    }

    /// The number without its country.
    pub fn pure(&self) -> &str {
        self.pure.expose()
    }

    /// The country's code, such as 86.
    pub fn country(&self) -> &str {
        self.country.expose()
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(…)")
    }
}

/// Digits, with marks between them, and perhaps a + in front.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let ends = digits.bytes().next().zip(digits.bytes().last());
    text.len() <= MAX_LEN
        && ends.is_some_and(|(first, last)| first.is_ascii_digit() && last.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wechat_gives_is_taken_as_it_is() {
        for (whole, pure, country) in
            [("13800000000", "13800000000", "86"), ("+15550100", "5550100", "1"), ("+44 20-7946", "20-7946", "44")]
        {
            let number = PhoneNumber::parse(whole, pure, country).unwrap();
            assert_eq!((number.whole(), number.pure(), number.country()), (whole, pure, country));
        }
    }

    #[test]
    fn what_is_no_number_or_no_header_is_none() {
        for odd in ["", "+", "-1", "1-", "+ 1", "1\r\n2", "one", "１３８", "1;2", "111111111111111111111111111111111"]
        {
            assert_eq!(PhoneNumber::parse(odd, "1", "86"), Err(InvalidPhoneNumber), "{odd}");
            assert_eq!(PhoneNumber::parse("1", odd, "86"), Err(InvalidPhoneNumber), "{odd}");
        }
        for country in ["", "+86", "8 6", "123456789"] {
            assert_eq!(PhoneNumber::parse("1", "1", country), Err(InvalidPhoneNumber), "{country}");
        }
    }

    #[test]
    fn a_number_does_not_print() {
        let number = PhoneNumber::parse("13800000000", "13800000000", "86").unwrap();
        assert_eq!(format!("{number:?} {number:#?}"), "PhoneNumber(…) PhoneNumber(…)");
    }
}
