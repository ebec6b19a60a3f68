//! The profile that WeChat tells of everybody since it no longer tells the real one: a name, and a grey head.

/// What everybody is called.
const NICKNAME: &str = "微信用户";

/// What the addresses of the grey head have in common, whatever its size and host.
const AVATARS: [&str; 2] = [
    "POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg",
    "icTdbqWNOwNRna42FI242Lcia07jQodd2FJGIYQfG0LAJGFxM4FbnQP6yfMxBgJ0F3YRqJCJ1aPAK2dQagdusBZg",
];

pub(super) fn is_nickname(text: &str) -> bool {
    text.trim() == NICKNAME
}

pub(super) fn is_avatar(text: &str) -> bool {
    AVATARS.iter().any(|avatar| text.contains(avatar))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placeholder_is_known_in_every_size() {
        for size in ["0", "64", "132"] {
            assert!(is_avatar(&format!("https://thirdwx.qlogo.cn/mmopen/vi_32/{}/{size}", AVATARS[0])));
        }
        assert!(is_avatar(&format!("https://mmbiz.qpic.cn/mmbiz/{}/0", AVATARS[1])));
        assert!(is_nickname("微信用户") && is_nickname(" 微信用户 "));
        assert!(!is_nickname("微信用户1") && !is_avatar("https://thirdwx.qlogo.cn/mmopen/vi_32/abc/132"));
    }
}
