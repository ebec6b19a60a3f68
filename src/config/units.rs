//! Durations, sizes and rates as people write them.

use std::{num::NonZeroU32, time::Duration};

use bytesize::ByteSize;

use super::sections::Rate;

/// Longest duration a key may have. Anything longer is a slip, and sums with it could overflow further in.
const LONGEST: Duration = Duration::from_hours(3650 * 24);

/// Reads `"500ms"`, `"10s"`, `"24h"` or `"1h 30min"`. What is not zero is at least a millisecond, our clock's step.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let Ok(duration) = humantime::parse_duration(text) else {
        return Err("is not a duration (write 500ms, 10s, 5m, 24h or 7d)".to_owned());
    };
    if duration > LONGEST {
        return Err("is longer than ten years".to_owned());
    }
    if !duration.is_zero() && duration < Duration::from_millis(1) {
        return Err("is shorter than a millisecond".to_owned());
    }
    Ok(duration)
}

/// Reads `"32KiB"`, `"10MiB"`, `"1GB"` or a plain number of bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(_) => Err("is not a size (write 512, 32KiB or 10MiB)".to_owned()),
    }
}

/// Reads `"5/s"`, `"30/min"` or `"1000/h"`.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let read = || {
        let (count, unit) = text.split_once('/')?;
        let per = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3600,
            _ => return None,
        };
        Some((count.trim().parse::<u32>().ok()?, Duration::from_secs(per)))
    };
    let (count, per) = read().ok_or("is not a rate (write 5/s, 30/min or 1000/h)")?;
    let count = NonZeroU32::new(count).ok_or("would let nobody in; the least is 1")?;
    Ok(Rate { count, per })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h 30min"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(168)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_number_without_a_unit_is_not_a_duration() {
        for text in ["10", "", "s", "10 parsecs", "-1s", "99999999999999999999s"] {
            assert_eq!(duration(text), Err("is not a duration (write 500ms, 10s, 5m, 24h or 7d)".to_owned()), "{text}");
        }
    }

    #[test]
    fn durations_that_nobody_means_are_refused() {
        assert_eq!(duration("11years"), Err("is longer than ten years".to_owned()));
        assert_eq!(duration("3ns"), Err("is shorter than a millisecond".to_owned()));
    }

    #[test]
    fn sizes_know_both_kinds_of_kilo() {
        assert_eq!(size("32KiB"), Ok(32_768));
        assert_eq!(size("32 KB"), Ok(32_000));
        assert_eq!(size("10MiB"), Ok(10_485_760));
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("10 tons"), Err("is not a size (write 512, 32KiB or 10MiB)".to_owned()));
    }

    #[test]
    fn a_rate_is_a_count_and_a_unit() {
        let five = NonZeroU32::new(5).unwrap();
        assert_eq!(rate("5/s"), Ok(Rate { count: five, per: Duration::from_secs(1) }));
        assert_eq!(rate("5 / hour"), Ok(Rate { count: five, per: Duration::from_hours(1) }));
        for text in ["5", "/s", "5/fortnight", "5/s/s", "-5/s", "5000000000/s"] {
            assert_eq!(rate(text), Err("is not a rate (write 5/s, 30/min or 1000/h)".to_owned()), "{text}");
        }
        assert_eq!(rate("0/s"), Err("would let nobody in; the least is 1".to_owned()));
    }
}
