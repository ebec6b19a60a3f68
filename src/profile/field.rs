//! What a user can tell of himself, and which values each field takes.
//!
//! Texts are kept as they come, neither composed nor folded: a nickname names nobody, so two may look alike. Their length
//! is counted in Unicode scalar values, so that it is bounded in bytes as well; in what readers call characters it would
//! not be. Control characters are refused, and those that change how the text around them is shown or can't be seen: whoever
//! prints a nickname into a line of chat gets no more than a name. Joiners within a text are allowed, since emoji and several
//! scripts need them.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A field of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Field {
    /// What the user is called.
    NickName,
    /// Where the picture is.
    AvatarUrl,
    /// 0 is not told, 1 a man, 2 a woman.
    Gender,
    /// Such as `zh_CN`.
    Language,
    /// Where the user lives.
    City,
    /// The same.
    Province,
    /// The same.
    Country,
    /// The phone number; one from abroad with its country. This and the next two come and go together.
    PhoneNumber,
    /// The same without its country.
    PurePhoneNumber,
    /// The country's code.
    CountryCode,
}

/// What a field holds. It does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A text.
    Text(String),
    /// A small number.
    Number(u8),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(…)")
    }
}

const LONGEST_NICKNAME: usize = 32;
const LONGEST_PLACE: usize = 64;
const LONGEST_LANGUAGE: usize = 32;
const LONGEST_URL: usize = 1024;

impl Field {
    /// What it is called on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::NickName => "nickName",
            Self::AvatarUrl => "avatarUrl",
            Self::Gender => "gender",
            Self::Language => "language",
            Self::City => "city",
            Self::Province => "province",
            Self::Country => "country",
            Self::PhoneNumber => "phoneNumber",
            Self::PurePhoneNumber => "purePhoneNumber",
            Self::CountryCode => "countryCode",
        }
    }

    /// What a value of it has to be, for whoever sent another.
    pub(super) fn takes(self) -> &'static str {
        match self {
            Self::NickName => {
                "nickName must be a string of 1 to 32 characters, without control or formatting characters, or null."
            }
            Self::AvatarUrl => "avatarUrl must be an https URL of at most 1024 bytes with the name of a host, or null.",
            Self::Gender => "gender must be 0, 1, 2 or null.",
            Self::Language => "language must be a string like zh_CN of at most 32 characters, or null.",
            Self::City => "city must be a string of at most 64 characters, without control characters, or null.",
            Self::Province => {
                "province must be a string of at most 64 characters, without control characters, or null."
            }
            Self::Country => "country must be a string of at most 64 characters, without control characters, or null.",
            Self::PhoneNumber | Self::PurePhoneNumber | Self::CountryCode => "A phone number comes from WeChat alone.",
        }
    }

    /// The text as this field takes it.
    pub(super) fn text(self, text: &str) -> Option<Value> {
        let text = if self == Self::AvatarUrl { text } else { text.trim() };
        let fits = match self {
            Self::NickName => is_shown_as_it_is(text, LONGEST_NICKNAME),
            Self::City | Self::Province | Self::Country => is_shown_as_it_is(text, LONGEST_PLACE),
            Self::Language => is_language(text),
            Self::AvatarUrl => is_address(text),
            Self::Gender | Self::PhoneNumber | Self::PurePhoneNumber | Self::CountryCode => false,
        };
        fits.then(|| Value::Text(text.to_owned()))
    }

    /// The number as this field takes it.
    pub(super) fn number(self, number: i64) -> Option<Value> {
        match (self, u8::try_from(number)) {
            (Self::Gender, Ok(gender @ 0..=2)) => Some(Value::Number(gender)),
            _ => None,
        }
    }
}

fn is_shown_as_it_is(text: &str, longest: usize) -> bool {
    let mut visible = false;
    for c in text.chars() {
        if changes_the_text_around_it(c) {
            return false;
        }
        visible |= !(c.is_whitespace() || is_blank(c));
    }
    visible && text.chars().count() <= longest
}

/// Control characters, line ends, what turns the direction of a text, what is there and not shown, and what is no character.
fn changes_the_text_around_it(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// What takes room without being white space, and the joiners and selectors, which are nothing without what they belong to.
fn is_blank(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}'
        | '\u{3164}' | '\u{ffa0}' | '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}')
}

fn is_language(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=LONGEST_LANGUAGE).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// An address that a page can show, and that means the same to every reader: nothing that a parser mends, no name and
/// password, and no machine by its number.
fn is_address(text: &str) -> bool {
    if text.len() > LONGEST_URL || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return false;
    }
    let Some(Ok(url)) = text.starts_with("https://").then(|| Url::parse(text)) else { return false };
    let is_name = matches!(url.host(), Some(Host::Domain(name)) if name.trim_end_matches('.').contains('.'));
    is_name && url.username().is_empty() && url.password().is_none() && !text.contains(['<', '>', '"', '\'', '`'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(field: Field, text: &str) -> bool {
        field.text(text).is_some()
    }

    #[test]
    fn a_nickname_is_trimmed_and_counted_in_scalar_values() {
        for name in [
            "a",
            "小明",
            "Zoë",
            "李 雷",
            "🐼",
            "👨‍👩‍👧‍👦",
            "🇨🇳",
            "❤️",
            "نام‌من",
            "हिन्दी",
            "a'; DROP TABLE --",
            "<b>",
            "раура1",
        ] {
            assert_eq!(
                Field::NickName.text(&format!(" \t{name}\u{3000}\n")),
                Some(Value::Text(name.to_owned())),
                "{name}"
            );
        }
        assert!(takes(Field::NickName, &"字".repeat(32)) && !takes(Field::NickName, &"字".repeat(33)));
        // Seven scalar values, which are one family.
        assert!(takes(Field::NickName, &"👨‍👩‍👧‍👦".repeat(4)) && !takes(Field::NickName, &"👨‍👩‍👧‍👦".repeat(5)));
        assert!(
            !takes(Field::NickName, &format!("a{}", "\u{301}".repeat(32))),
            "marks count, however many stand on one letter"
        );
    }

    #[test]
    fn nothing_in_a_nickname_changes_what_stands_beside_it() {
        for odd in [
            '\0',
            '\n',
            '\r',
            '\t',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9f}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{206f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{fffe}',
            '\u{ffff}',
            '\u{1fffe}',
            '\u{10ffff}',
            '\u{e0001}',
            '\u{e0061}',
        ] {
            assert!(!takes(Field::NickName, &format!("a{odd}b")), "{odd:?}");
            assert!(!takes(Field::City, &format!("a{odd}b")), "{odd:?}");
        }
    }

    #[test]
    fn a_nickname_can_be_seen() {
        for nothing in
            ["", " ", "\u{3000}", "\u{200d}", "\u{3164}", "\u{2800}\u{2800}", "\u{fe0f}", "\u{115f} \u{ffa0}"]
        {
            assert!(!takes(Field::NickName, nothing), "{nothing:?}");
        }
    }

    #[test]
    fn an_avatar_is_at_an_https_address_that_can_be_read_in_one_way() {
        let long = format!("https://a.example/{}", "x".repeat(1024 - 18));
        for good in [
            "https://thirdwx.qlogo.cn/mmopen/vi_32/abc/132",
            "https://cdn.example.com:8443/a.png?x=1&y=%E4%BD%A0#z",
            &long,
        ] {
            assert!(takes(Field::AvatarUrl, good), "{good}");
        }
        for odd in [
            "",
            "http://a.example/x",
            "HTTPS://a.example/x",
            "https:/a.example",
            "https:a.example",
            "//a.example/x",
            "https://",
            "http://tmp/abc.jpg",
            "wxfile://tmp_1.png",
            "data:image/png;base64,AA",
            "javascript:alert(1)",
            "https://a.example/x y",
            " https://a.example/",
            "https://a.example/\n",
            "https://a.example\\@b.example/",
            "https://u@a.example/",
            "https://u:p@a.example/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://localhost/",
            "https://metadata/",
            "https://metadata./",
            "https://a.example/\"onload=",
            "https://例子.cn/",
            &format!("{long}x"),
        ] {
            assert!(!takes(Field::AvatarUrl, odd), "{odd:?}");
        }
    }

    #[test]
    fn the_others_are_bounded_too() {
        for good in ["zh_CN", "en", "zh-Hans-CN"] {
            assert!(takes(Field::Language, good), "{good}");
        }
        for odd in ["", "zh CN", "中文", "zh_CN\n;x", &"x".repeat(33)] {
            assert!(!takes(Field::Language, odd), "{odd}");
        }
        assert!(takes(Field::City, &"广".repeat(64)) && !takes(Field::City, &"广".repeat(65)));
        let gender = |number| Field::Gender.number(number);
        assert_eq!([0, 1, 2].map(gender), [0, 1, 2].map(|number| Some(Value::Number(number))));
        assert!([-1, 3, 256, i64::MAX].into_iter().all(|number| gender(number).is_none()));
        assert!(!takes(Field::Gender, "1") && Field::City.number(1).is_none());
    }

    #[test]
    fn a_field_is_written_as_it_is_called() {
        for field in [
            Field::NickName,
            Field::AvatarUrl,
            Field::Gender,
            Field::Language,
            Field::City,
            Field::Province,
            Field::Country,
        ] {
            assert_eq!(serde_json::to_value(field).unwrap(), field.name());
            assert!(field.takes().starts_with(field.name()));
        }
    }
}
