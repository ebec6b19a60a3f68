//! One log line being written, as JSON or as `key=value` pairs. It is on the path of every request, so numbers and
//! addresses are written without the formatting machinery, which would take longer than the rest of the line; and which of the two it is
//! to be is part of the type, so that what stands between the values is copied in pieces of a known size.

use std::{io::Write, net::IpAddr, time::Duration};

use crate::model::hex;

/// The name of a field, as each format writes it, with what stands before it and the quotation mark before its value.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As JSON has it.
    pub json: &'static str,
    /// As text has it.
    pub text: &'static str,
}

/// The [`Key`] of a name.
macro_rules! key {
    ($name:literal) => {
        $crate::telemetry::Key { json: concat!(",\"", $name, "\":\""), text: concat!(" ", $name, "=\"") }
    };
}
pub(crate) use key;

/// A line on its way into a buffer. Writing into memory does not fail.
#[derive(Debug)]
pub struct Line<'a, const JSON: bool> {
    out: &'a mut Vec<u8>,
    first: bool,
}

/// A field that many lines have in common, as one format writes it behind other fields.
#[derive(Debug)]
pub struct Field(Box<[u8]>);

impl Field {
    /// This text, which may be any.
    pub fn of<const JSON: bool>(key: Key, text: &str) -> Self {
        let mut out = Vec::new();
        Line::<JSON> { out: &mut out, first: false }.text(key, text);
        Self(out.into())
    }
}

/// A line as JSON.
pub type Json<'a> = Line<'a, true>;

/// A line as text.
pub type Text<'a> = Line<'a, false>;

impl<'a, const JSON: bool> Line<'a, JSON> {
    /// Begins a line at the end of `out`.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        if JSON {
            out.push(b'{');
        }
        Self { out, first: true }
    }

    /// Ends it, without the line feed.
    pub fn end(self) {
        if JSON {
            self.out.push(b'}');
        }
    }

    /// A moment: the second as text, without its `Z`, and the milliseconds in it.
    #[inline]
    pub fn moment(&mut self, key: Key, second: &str, millis: u64) {
        self.key(key);
        self.out.extend_from_slice(second.as_bytes());
        self.out.push(b'.');
        self.three_digits(millis);
        self.out.extend_from_slice(b"Z\"");
    }

    /// An address.
    #[inline]
    pub fn address(&mut self, key: Key, ip: IpAddr) {
        self.key(key);
        match ip {
            IpAddr::V4(ip) => {
                let (mut text, mut length) = ([0; "255.255.255.255.".len()], 0);
                for octet in ip.octets() {
                    let (digits, count) = OCTETS[usize::from(octet)];
                    text[length..length + digits.len()].copy_from_slice(&digits);
                    length += count;
                }
                // Each of them has its dot, and behind the last is none.
                self.out.extend_from_slice(&text[..length - 1]);
            }
            IpAddr::V6(ip) => drop(write!(self.out, "{ip}")),
        }
        self.out.push(b'"');
    }

    /// Bytes as hexadecimal digits.
    #[inline]
    pub fn hex(&mut self, key: Key, bytes: &[u8]) {
        self.key(key);
        self.out.extend(bytes.iter().flat_map(|byte| hex(*byte)));
        self.out.push(b'"');
    }

    /// A whole number.
    #[inline]
    pub fn integer(&mut self, key: Key, value: u64) {
        self.bare_key(key);
        self.digits(value);
    }

    /// Milliseconds with three decimals.
    #[inline]
    pub fn millis(&mut self, key: Key, value: Duration) {
        self.bare_key(key);
        self.thousandths(value.as_secs().saturating_mul(1_000_000).saturating_add(value.subsec_micros().into()));
    }

    /// A field that was written before.
    #[inline]
    pub fn ready(&mut self, field: &Field) {
        self.out.extend_from_slice(&field.0);
    }

    /// Yes or no.
    #[inline]
    pub fn flag(&mut self, key: Key, value: bool) {
        self.bare_key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A word in which nothing is to be escaped.
    #[inline]
    pub fn plain(&mut self, key: Key, word: &str) {
        debug_assert!(word.bytes().all(is_plain), "{word}");
        self.key(key);
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    /// A text from outside: nothing in it can end the string, the field or the line, on whatever it is read. Beyond
    /// ASCII there are more line ends and more terminal commands than one would list here, so all of that is escaped.
    #[inline]
    pub fn text(&mut self, key: Key, value: &str) {
        self.bytes(key, value.as_bytes());
    }

    /// The same, of what need not be UTF-8.
    #[inline]
    pub fn bytes(&mut self, key: Key, value: &[u8]) {
        self.key(key);
        self.value(value);
    }

    fn value(&mut self, value: &[u8]) {
        // Nearly always nothing is to be escaped. All bytes are looked at, since that goes many at a time.
        if value.iter().fold(true, |all, byte| all & is_plain(*byte)) {
            self.out.extend_from_slice(value);
        } else {
            self.escaped(&String::from_utf8_lossy(value));
        }
        self.out.push(b'"');
    }

    fn escaped(&mut self, mut rest: &str) {
        while let Some(at) = rest.find(|c: char| !u8::try_from(c).is_ok_and(is_plain)) {
            let (plain, tail) = rest.split_at(at);
            self.out.extend_from_slice(plain.as_bytes());
            let mut chars = tail.chars();
            for unit in chars.next().map(|c| c.encode_utf16(&mut [0; 2]).to_vec()).unwrap_or_default() {
                let _ = write!(self.out, "\\u{unit:04x}");
            }
            rest = chars.as_str();
        }
        self.out.extend_from_slice(rest.as_bytes());
    }

    /// What stands before a value in quotation marks.
    #[inline]
    fn key(&mut self, key: Key) {
        let text = if JSON { key.json } else { key.text };
        self.between(text.as_bytes());
    }

    /// And before one without.
    #[inline]
    fn bare_key(&mut self, key: Key) {
        let text = if JSON { key.json } else { key.text }.as_bytes();
        self.between(&text[..text.len() - 1]);
    }

    #[inline]
    fn between(&mut self, text: &[u8]) {
        // The first field has nothing before it to be kept apart from.
        if std::mem::replace(&mut self.first, false) {
            self.out.extend_from_slice(&text[1..]);
        } else {
            self.out.extend_from_slice(text);
        }
    }

    fn digits(&mut self, value: u64) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn thousandths(&mut self, value: u64) {
        match value / 1000 {
            whole @ 0..10 => self.out.push(digit(whole)),
            whole => self.digits(whole),
        }
        self.out.push(b'.');
        self.three_digits(value % 1000);
    }

    fn three_digits(&mut self, value: u64) {
        self.out.extend_from_slice(&[digit(value / 100), digit(value / 10), digit(value)]);
    }
}

/// The last digit of a number.
fn digit(value: u64) -> u8 {
    DIGITS[usize::try_from(value % 10).unwrap_or_default()]
}

/// Each octet of an address in digits, with a dot behind it, and how many characters that is.
const OCTETS: [([u8; 4], usize); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < octets.len() {
        let (text, count) = &mut octets[octet];
        let mut rest = octet;
        *count = if octet < 10 {
            1
        } else if octet < 100 {
            2
        } else {
            3
        };
        let mut at = *count;
        while at > 0 {
            at -= 1;
            text[at] = DIGITS[rest % 10];
            rest /= 10;
        }
        *count += 1;
        octet += 1;
    }
    octets
};

const DIGITS: &[u8; 10] = b"0123456789";

/// Whether a log takes a byte as it is: what can be seen in ASCII, and can't end a string.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<const JSON: bool>(write: impl FnOnce(&mut Line<'_, JSON>)) -> String {
        let mut out = Vec::new();
        let mut line = Line::begin(&mut out);
        write(&mut line);
        line.end();
        String::from_utf8(out).unwrap()
    }

    fn everything<const JSON: bool>(line: &mut Line<'_, JSON>) {
        line.moment(key!("ts"), "2026-11-23T09:16:59", 7);
        line.address(key!("v4"), IpAddr::from([203, 0, 113, 9]));
        line.address(key!("v6"), "2001:db8::1".parse().unwrap());
        line.hex(key!("user"), &[0x00, 0xa7, 0xff]);
        line.integer(key!("bytes"), u64::MAX);
        line.millis(key!("ms"), Duration::from_micros(12_045));
        line.flag(key!("complete"), false);
        line.plain(key!("kind"), "access");
    }

    #[test]
    fn every_kind_of_value_is_json() {
        assert_eq!(
            line::<true>(everything),
            r#"{"ts":"2026-11-23T09:16:59.007Z","v4":"203.0.113.9","v6":"2001:db8::1","user":"00a7ff","bytes":18446744073709551615,"ms":12.045,"complete":false,"kind":"access"}"#
        );
    }

    #[test]
    fn each_octet_has_its_digits() {
        for octet in 0..=255 {
            let ip = IpAddr::from([octet, 255 - octet, 0, octet]);
            assert_eq!(line::<false>(|l| l.address(key!("ip"), ip)), format!("ip=\"{ip}\""));
        }
    }

    #[test]
    fn a_field_that_was_written_before_is_like_any_other() {
        fn alike<const JSON: bool>(text: &str) {
            let field = Field::of::<JSON>(key!("b"), text);
            let behind_another = |write: &dyn Fn(&mut Line<'_, JSON>)| {
                line(|line: &mut Line<'_, JSON>| {
                    line.plain(key!("a"), "x");
                    write(line);
                })
            };
            assert_eq!(behind_another(&|line| line.ready(&field)), behind_another(&|line| line.text(key!("b"), text)));
        }
        for text in ["/api", "a\"b\u{2028}"] {
            alike::<true>(text);
            alike::<false>(text);
        }
    }

    #[test]
    fn and_text() {
        assert_eq!(
            line::<false>(everything),
            r#"ts="2026-11-23T09:16:59.007Z" v4="203.0.113.9" v6="2001:db8::1" user="00a7ff" bytes=18446744073709551615 ms=12.045 complete=false kind="access""#
        );
    }

    #[test]
    fn nothing_from_outside_ends_a_field_or_a_line() {
        let evil = "a\" status=200\n{\\\u{1b}[2J\u{2028}😀";
        let escaped = r#""a\u0022 status=200\u000a{\u005c\u001b[2J\u2028\ud83d\ude00""#;
        assert_eq!(line::<false>(|l| l.text(key!("path"), evil)), format!("path={escaped}"));
        let json: serde_json::Value = serde_json::from_str(&line::<true>(|l| l.text(key!("path"), evil))).unwrap();
        assert_eq!(json["path"], evil);
    }
}
