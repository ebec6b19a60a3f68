//! The PROXY protocol, versions 1 and 2: what a load balancer says of its client before the client's first byte.
//!
//! Where a header ends is found here, and only a whole one is given to the crate that reads it. So what a header means
//! can't depend on how it was cut into packets, and no byte behind it is taken for a part of it.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

/// The longest header that is taken. Of version 2 it is what extensions come to, none of which is read here: names, ids
/// and what a proxy tells of its client's TLS take some hundreds of bytes, and nobody is known to fill this.
pub const MAX_BYTES: usize = 4096;

/// The longest header of version 1, as the protocol has it.
const MAX_TEXT_BYTES: usize = 107;

const TEXT: &[u8] = b"PROXY ";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A binary header up to where its own length stands, which counts what follows.
const BINARY_HEAD: usize = BINARY.len() + 4;

/// The version and the command of a connection that is the proxy's own.
const LOCAL: u8 = 0x20;

/// Who a proxy has connected for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// A client at this address.
    Client(SocketAddr),
    /// Itself, to see whether we are alive.
    Itself,
    /// Somebody whose address it does not know or can't tell.
    Somebody,
}

/// Where a header ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Further on: all bytes so far are a part of it.
    Open,
    /// After so many bytes, which may be more than there are yet.
    At(usize),
}

/// These bytes are no header, however they go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Where the header ends that these bytes begin with.
pub fn end(bytes: &[u8]) -> Result<End, Malformed> {
    if begin_alike(bytes, BINARY) {
        let Some(length) = bytes.get(BINARY_HEAD - 2..BINARY_HEAD) else { return Ok(End::Open) };
        let end = BINARY_HEAD + length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        return if end <= MAX_BYTES { Ok(End::At(end)) } else { Err(Malformed) };
    }
    if !begin_alike(bytes, TEXT) {
        return Err(Malformed);
    }
    let line = &bytes[..bytes.len().min(MAX_TEXT_BYTES)];
    match memchr::memchr(b'\n', line) {
        Some(at) => Ok(End::At(at + 1)),
        None if line.len() < MAX_TEXT_BYTES => Ok(End::Open),
        None => Err(Malformed),
    }
}

/// Who a whole header announces.
pub fn read(header: &[u8]) -> Result<Announced, Malformed> {
    // Whatever else stands in such a header does not count, so nobody looks at it.
    if header.starts_with(BINARY) && header.get(BINARY.len()) == Some(&LOCAL) {
        return Ok(Announced::Itself);
    }
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    let (parsed, length) = ProxyHeader::parse(header, config).map_err(|_| Malformed)?;
    if length != header.len() {
        return Err(Malformed);
    }
    match parsed.proxied_address() {
        Some(address) if address.protocol == Protocol::Stream => Ok(Announced::Client(address.source)),
        Some(_) => Err(Malformed),
        None => Ok(Announced::Somebody),
    }
}

/// Whether the two are alike as far as both go.
fn begin_alike(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(addr: &str) -> Announced {
        Announced::Client(addr.parse().unwrap())
    }

    /// A binary header of this command and family.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [BINARY, &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 1, 187];

    fn v6() -> Vec<u8> {
        let mut addresses = vec![0; 36];
        addresses[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        addresses[15] = 1;
        addresses[33] = 80;
        addresses
    }

    /// What these bytes are: a header of so many bytes that announces somebody, none, or not whole.
    fn found(bytes: &[u8]) -> Result<Option<(usize, Announced)>, Malformed> {
        match end(bytes)? {
            End::At(end) if end <= bytes.len() => Ok(Some((end, read(&bytes[..end])?))),
            End::At(_) | End::Open => Ok(None),
        }
    }

    fn good() -> Vec<(Vec<u8>, Announced)> {
        let with_extensions = [&V4[..], &[4, 0, 3, 0, 0, 0], &[0xea, 0, 2, 1, 2]].concat();
        let longest = [&V4[..], &[0; MAX_BYTES - BINARY_HEAD - 12]].concat();
        let longest_text = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                            65535 65535\r\n";
        let longest_unknown = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:\
                               ffff 65535 65535\r\n";
        assert_eq!(longest_unknown.len(), MAX_TEXT_BYTES);
        vec![
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n".to_vec(), client("192.0.2.1:12345")),
            (b"PROXY TCP6 2001:db8::1 ::1 80 443\r\n".to_vec(), client("[2001:db8::1]:80")),
            (longest_text.into(), client("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Announced::Somebody),
            (b"PROXY UNKNOWN 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(), Announced::Somebody),
            (longest_unknown.into(), Announced::Somebody),
            (binary(0x21, 0x11, &V4), client("192.0.2.1:12345")),
            (binary(0x21, 0x11, &with_extensions), client("192.0.2.1:12345")),
            (binary(0x21, 0x11, &longest), client("192.0.2.1:12345")),
            (binary(0x21, 0x21, &v6()), client("[2001:db8::1]:80")),
            (binary(0x21, 0x00, &[]), Announced::Somebody),
            (binary(0x21, 0x00, &V4), Announced::Somebody),
            (binary(0x21, 0x31, &[7; 216]), Announced::Somebody),
            (binary(0x20, 0x00, &[]), Announced::Itself),
            (binary(0x20, 0x11, &V4), Announced::Itself),
            (binary(0x20, 0xff, &[1, 2, 3]), Announced::Itself),
        ]
    }

    #[test]
    fn a_header_is_read_to_its_end_and_no_further() {
        for (header, announced) in good() {
            for behind in [&b""[..], b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"PROXY UNKNOWN\r\n", &[0x16, 3, 1, 2, 0]] {
                let all = [&header[..], behind].concat();
                assert_eq!(found(&all), Ok(Some((header.len(), announced))), "{}", all.escape_ascii());
            }
        }
    }

    #[test]
    fn a_header_is_not_taken_for_whole_before_its_end() {
        for (header, _) in good() {
            for length in 0..header.len() {
                assert_eq!(found(&header[..length]), Ok(None), "{}", header[..length].escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_TEXT_BYTES - 15));
        let mut too_far = binary(0x21, 0x11, &V4);
        too_far[14..16].copy_from_slice(&u16::try_from(MAX_BYTES - BINARY_HEAD + 1).unwrap().to_be_bytes());
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\r\n\r\n\0\r\nQUIX",
            b"PROXY\r\n",
            b"PROXYTCP4 192.0.2.1 10.0.0.1 1 2\r\n",
            b"proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n",
            b"PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.01 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n",
            b"PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.1\r\r\n",
            b"PROXY UNKNOWN \r \r\n",
            too_long.as_bytes(),
            &too_far,
            &binary(0x11, 0x11, &V4),
            &binary(0x22, 0x11, &V4),
            &binary(0x21, 0x12, &V4),
            &binary(0x21, 0x41, &V4),
            &binary(0x21, 0x13, &V4),
            &binary(0x21, 0x11, &V4[..11]),
            &binary(0x21, 0x21, &V4),
            &binary(0x21, 0x31, &[7; 215]),
        ] {
            assert_eq!(found(bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_can_become_no_header_is_refused_at_its_first_wrong_byte() {
        for (bytes, wrong) in [(&b"GET / HTTP/1.1"[..], 1), (b"PUT /", 2), (b"PRI * HTTP/2.0", 3), (b"\r\nGET /", 3)] {
            assert_eq!(end(&bytes[..wrong - 1]), Ok(End::Open));
            assert_eq!(end(&bytes[..wrong]), Err(Malformed), "{}", bytes.escape_ascii());
        }
    }
}
