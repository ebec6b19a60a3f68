//! For how long a token is lent, and when the next one is asked for.

use super::*;

#[tokio::test]
async fn a_token_is_not_used_in_the_last_five_minutes_of_its_life() {
    let story = Story::begin();
    story.orders(Order::Grant("short", 20 * MINUTE));
    assert_eq!(story.token().await, "short");
    story.clock.advance(Duration::from_millis(899_999));
    story.hold();
    assert_eq!(story.token().await, "short");
    story.clock.advance(Duration::from_millis(1));
    story.let_go();
    assert_eq!(story.token().await, named(2));
}

#[tokio::test]
async fn a_token_lives_from_when_it_was_asked_for_and_not_from_when_it_came() {
    let story = Story::begin();
    story.hold();
    story.orders(Order::Grant("slow", 20 * MINUTE));
    let ((), token) = tokio::join!(
        async {
            story.until_asked(1).await;
            story.clock.advance(10 * MINUTE);
            story.let_go();
        },
        story.token()
    );
    assert_eq!(token, "slow");
    story.clock.advance(5 * MINUTE);
    assert_eq!(story.token().await, named(2));
}

#[tokio::test]
async fn a_token_without_a_life_worth_keeping_serves_those_who_wait_for_it() {
    let story = Story::begin();
    for _ in 0..2 {
        story.orders(Order::Grant("brief", 5 * MINUTE));
    }
    assert_eq!(story.token().await, "brief");
    assert_eq!(story.token().await, "brief");
    assert_eq!(story.asked(), 2, "and is not kept");
}

#[tokio::test]
async fn no_token_is_kept_for_longer_than_wechats_own_live() {
    let story = Story::begin();
    story.orders(Order::Grant("eternal", Duration::MAX));
    assert_eq!(story.token().await, "eternal");
    story.clock.advance(2 * HOUR);
    assert_eq!(story.token().await, named(2));
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_token_alive() {
    let story = Story::begin();
    story.token().await;
    story.clock.advance(2 * HOUR);
    story.clock.set(Timestamp::from_millis(0));
    assert_eq!(story.token().await, named(2));
}

#[tokio::test]
async fn the_next_token_is_asked_for_early_and_nobody_waits_for_it() {
    let story = Story::begin();
    story.token().await;
    story.clock.advance(114 * MINUTE);
    story.hold();
    for _ in 0..5 {
        assert_eq!(story.token().await, named(1), "while the next one is under way");
    }
    story.until_asked(2).await;
    story.let_go();
    story.until_lent(&named(2)).await;
    assert_eq!(story.asked(), 2);
}

#[tokio::test]
async fn where_the_early_token_is_the_same_or_none_it_is_tried_again_now_and_then() {
    let story = Story::begin();
    story.orders(Order::Grant("same", 2 * HOUR));
    story.token().await;
    story.clock.advance(114 * MINUTE);
    story.orders(Order::Grant("same", 6 * MINUTE));
    story.orders(Order::Fail(Error::Timeout));
    for asked in [2, 3] {
        for _ in 0..5 {
            assert_eq!(story.token().await, "same");
            tokio::task::yield_now().await;
        }
        assert_eq!(story.asked(), asked);
        story.clock.advance(BETWEEN_TRIES);
    }
    story.until_lent(&named(4)).await;
}
