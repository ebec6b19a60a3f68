//! No list of hops makes an untrusted peer somebody else, or a client of an address that nobody wrote. Input: each line is
//! one of `X-Forwarded-For` if the first byte is even, else of `Forwarded`.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use wxgate::web::{TrustedProxies, client_ip::parse_forwarded, headers};

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let name = if kind % 2 == 0 { headers::X_FORWARDED_FOR } else { headers::FORWARDED };
    let mut map = HeaderMap::new();
    for line in rest.split(|byte| *byte == b'\n').take(8) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        map.append(name.clone(), value);
    }

    let peer = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(TrustedProxies::default().client(peer, &map).ip, peer);

    let Ok(network) = "10.0.0.0/8".parse() else { return };
    let client = TrustedProxies::new(&[network]).client(peer, &map);
    assert!(client.peer_is_trusted);
    let text = String::from_utf8_lossy(rest).to_ascii_lowercase();
    let written = !client.ip.is_ipv4() || client.ip == peer || text.contains(&client.ip.to_string());
    assert!(written || text.contains("::"), "{} is not in {text}", client.ip);

    for element in text.lines().filter_map(parse_forwarded).flatten() {
        let values = [element.client, element.proto, element.host];
        assert!(values.into_iter().flatten().all(|value| !value.contains(['"', '\\'])), "{element:?}");
    }
});
