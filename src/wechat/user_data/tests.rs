//! WeChat's own example, and everything that is wrong by a little.

use aws_lc_rs::{
    cipher::{AES_128, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey},
    iv::FixedLength,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::*;
use crate::model::{AppId, OpenId};

/// The example that comes with WeChat's documentation.
const KEY: &str = "tiihtNczf5v6AKRyjwEUhQ==";
const IV: &str = "r7BXXKkLb8qrSNn05n0qiA==";
const DATA: &str = "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+oNPdbB+3hVbJSRgv+4lGOETKUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnEtpyxVLW1zAo6/1Xx1COxFvrc2d7UL/lmHInNlxuacJXwu0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//FRAUid1OksQaQx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6xNrXd2UIeorGj5Ef7b1pJAYB6Y5anaHqZ9J6nKEBvB4DnNLIVWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJdNiKdYmYVoKlaRv85IfVunYzO0IKXsyl7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyuxINew==";
const MADE: Timestamp = Timestamp::from_millis(1_477_314_187_000);

fn user(app: &str, openid: &str) -> UserKey {
    UserKey { app: AppId::parse(app).unwrap(), openid: OpenId::parse(openid).unwrap() }
}

fn band() -> UserKey {
    user("wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE")
}

/// What a client would bring of this text.
fn encrypt(text: &[u8]) -> String {
    let key = UnboundCipherKey::new(&AES_128, &STANDARD.decode(KEY).unwrap()).unwrap();
    let iv: [u8; 16] = STANDARD.decode(IV).unwrap().try_into().unwrap();
    let (mut bytes, context) = (text.to_vec(), EncryptionContext::Iv128(FixedLength::from(iv)));
    PaddedBlockEncryptingKey::cbc_pkcs7(key).unwrap().less_safe_encrypt(&mut bytes, context).unwrap();
    STANDARD.encode(bytes)
}

fn read(data: &str, iv: &str, key: &str) -> Result<UserInfo, Stale> {
    UserInfo::encrypted(data, iv, &SessionKey::new(key), &band(), MADE)
}

#[test]
fn wechats_own_example_opens() {
    let info = read(DATA, IV, KEY).unwrap();
    assert_eq!((info.nick_name.as_deref(), info.gender), (Some("Band"), Some(1)));
    assert_eq!((info.city.as_deref(), info.country.as_deref()), (Some("Guangzhou"), Some("CN")));
    assert!(info.avatar_url.unwrap().starts_with("http://wx.qlogo.cn/"));
}

#[test]
fn it_opens_for_nobody_else_and_only_for_a_while() {
    let open = |user: UserKey, now| UserInfo::encrypted(DATA, IV, &SessionKey::new(KEY), &user, now).is_ok();
    assert!(!open(user("wx0000000000000000", "oGZUI0egBJY1zhBYw2KhdUfwVJJE"), MADE));
    assert!(!open(user("wx4f4bc4dec97d474b", "oSomebodyElse"), MADE));
    assert!(open(band(), MADE + MAX_AGE));
    assert!(!open(band(), MADE + MAX_AGE + Duration::from_millis(1)));
    assert!(open(band(), Timestamp::from_millis(0)), "a clock that is behind turns nobody away");
}

#[test]
fn an_openid_need_not_be_in_it() {
    let mark = r#""watermark":{"timestamp":1477314187,"appid":"wx4f4bc4dec97d474b"}"#;
    for openid in ["", r#""openId":"","#, r#""openId":null,"#] {
        let text = format!(r#"{{"nickName":"Band",{openid}{mark}}}"#);
        assert_eq!(read(&encrypt(text.as_bytes()), IV, KEY).unwrap().nick_name.as_deref(), Some("Band"), "{text}");
    }
}

#[test]
fn what_is_no_object_with_a_watermark_is_stale() {
    let mark = r#""watermark":{"timestamp":1477314187,"appid":"wx4f4bc4dec97d474b"}"#;
    for text in [
        String::new(),
        "{}".to_owned(),
        format!("[{{{mark}}}]"),
        format!("{{{mark}}}{{}}"),
        format!("{{{mark},{mark}}}"),
        format!("\u{feff}{{{mark}}}"),
        format!(r#"{{"nickName":7,{mark}}}"#),
        format!(r#"{{"nickName":"a","nickName":"b",{mark}}}"#),
        r#"["Band",1,null,null,null,null,null]"#.to_owned(),
        r#"{"watermark":{"timestamp":-1,"appid":"wx4f4bc4dec97d474b"}}"#.to_owned(),
        r#"{"watermark":{"timestamp":18446744073709551615,"appid":"wx4f4bc4dec97d474b"}}"#.to_owned(),
        r#"{"watermark":{"appid":"wx4f4bc4dec97d474b"}}"#.to_owned(),
        r#"{"watermark":["wx4f4bc4dec97d474b",1477314187]}"#.to_owned(),
    ] {
        assert_eq!(read(&encrypt(text.as_bytes()), IV, KEY), Err(Stale), "{text}");
    }
    let mut no_utf8 = format!(r#"{{"x":" ",{mark}}}"#).into_bytes();
    no_utf8[6] = 0xff;
    assert_eq!(read(&encrypt(&no_utf8), IV, KEY), Err(Stale));
}

#[test]
fn whatever_is_wrong_is_wrong_in_one_way() {
    let bytes = STANDARD.decode(DATA).unwrap();
    let with = |len: usize| STANDARD.encode(&bytes[..len]);
    for data in ["", "!", &DATA[1..], &with(16), &with(399), &with(384), &DATA.replace('+', " "), &format!("{DATA}\n")]
    {
        assert_eq!(read(data, IV, KEY), Err(Stale), "{data}");
    }
    assert_eq!(read(DATA, "", KEY), Err(Stale));
    assert_eq!(read(DATA, &STANDARD.encode([0; 15]), KEY), Err(Stale));
    for key in ["", "no key", "HyVFkGl5F5OQWJZZaNzBBg==", &STANDARD.encode([0; 32])] {
        assert_eq!(read(DATA, IV, key), Err(Stale), "{key}");
    }
}

#[test]
fn every_last_byte_but_the_right_one_is_stale() {
    let good = STANDARD.decode(DATA).unwrap();
    for last in 0..=255_u8 {
        // It moves the last byte of the block after it, and garbles the one that it is in.
        let mut bytes = good.clone();
        bytes[400 - 17] = last;
        let is_good = last == good[400 - 17];
        assert_eq!(read(&STANDARD.encode(bytes), IV, KEY).is_ok(), is_good, "{last}");
    }
}

#[test]
fn a_text_that_would_do_without_its_padding_is_stale() {
    let mark = r#"{"watermark":{"timestamp":1477314187,"appid":"wx4f4bc4dec97d474b"}}"#;
    let whole_blocks = format!("{mark:<80}");
    let with_padding = STANDARD.decode(encrypt(whole_blocks.as_bytes())).unwrap();
    assert_eq!(with_padding.len(), 96);
    assert!(read(&STANDARD.encode(&with_padding), IV, KEY).is_ok());
    assert_eq!(read(&STANDARD.encode(&with_padding[..80]), IV, KEY), Err(Stale));
}

proptest! {
    #[test]
    fn whatever_was_encrypted_comes_back_and_a_flipped_bit_is_no_trouble(name in "\\PC{0,40}", at in any::<prop::sample::Index>()) {
        let told = serde_json::json!({
            "nickName": name, "watermark": {"timestamp": 1_477_314_187, "appid": "wx4f4bc4dec97d474b"}
        });
        let sealed = encrypt(told.to_string().as_bytes());
        prop_assert_eq!(read(&sealed, IV, KEY).unwrap().nick_name, Some(name));
        let mut bytes = STANDARD.decode(&sealed).unwrap();
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        // CBC is no seal: a flip may hit the nickname and nothing else.
        let _ = read(&STANDARD.encode(bytes), IV, KEY);
    }
}
