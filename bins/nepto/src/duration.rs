//! Durations as people write them: `30s`, `5m`, `1h`, `7d`, `2w`, `off`.

use std::time::Duration;

/// The longest timer.
const MAX_S: u64 = 365 * 24 * 3600;
/// Shorter than that an invite is over before it has reached anybody.
const LIFETIME_MIN: Duration = Duration::from_secs(600);
/// Units, the largest first.
const UNITS: [(char, u64); 5] = [('w', 7 * 24 * 3600), ('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

/// Reads a timer in seconds: `1h30m`, `90` (seconds), or `off` for 0.
pub fn parse_timer(text: &str) -> Result<u32, String> {
    if matches!(text, "off" | "0") {
        return Ok(0);
    }
    match parse(text)? {
        0 => Err("a timer is at least 1s; write `off` to switch it off".to_owned()),
        seconds if seconds > MAX_S => Err("a timer is at most 52w".to_owned()),
        seconds => u32::try_from(seconds).map_err(|_| "a timer is at most 52w".to_owned()),
    }
}

/// Reads how long to wait: `10`, `10s`, `2m`.
pub fn parse_wait(text: &str) -> Result<Duration, String> {
    let seconds = parse(text)?;
    if seconds > MAX_S { Err("that is too long".to_owned()) } else { Ok(Duration::from_secs(seconds)) }
}

/// Reads how long an invite is good: with a unit, because a bare number might be meant as days, and long enough to be used.
pub fn parse_lifetime(text: &str) -> Result<Duration, String> {
    if text.parse::<u64>().is_ok() {
        return Err(format!("{text} of what? Write it with a unit, like {text}d or {text}h"));
    }
    match parse_wait(text)? {
        short if short < LIFETIME_MIN => Err("nobody could use it in time; give it at least 10m, better 7d".to_owned()),
        lifetime => Ok(lifetime),
    }
}

fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a duration; write it like 30s, 5m, 1h, 7d or 1h30m");
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let (mut total, mut number) = (0u64, String::new());
    for char in text.chars() {
        if char.is_ascii_digit() {
            number.push(char);
            continue;
        }
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == char).ok_or_else(wrong)?;
        let count: u64 = number.parse().map_err(|_| wrong())?;
        total = count.checked_mul(*unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        number.clear();
    }
    if number.is_empty() && !text.is_empty() { Ok(total) } else { Err(wrong()) }
}

/// A timer for people: `1h 30m`, `off`.
pub fn show_timer(seconds: u32) -> String {
    let mut rest = u64::from(seconds);
    let mut parts = Vec::new();
    for (name, unit) in UNITS {
        if rest >= unit {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if parts.is_empty() { "off".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in
            [("30s", 30), ("5m", 300), ("1h", 3600), ("7d", 604_800), ("2w", 1_209_600), ("1h30m", 5400), ("90", 90)]
        {
            assert_eq!(parse_timer(text), Ok(seconds), "{text}");
        }
        assert_eq!(parse_timer("off"), Ok(0));
        for wrong in ["", "h", "1x", "1h30", "-1s", "1.5h", "0s", "53w", "99999999999999999999w", "9999999999w"] {
            assert!(parse_timer(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_wait("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_wait("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_lifetime_has_a_unit_and_is_long_enough() {
        assert_eq!(parse_lifetime("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_lifetime("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_lifetime("7"), Err("7 of what? Write it with a unit, like 7d or 7h".to_owned()));
        for wrong in ["0", "599s", "9m", "soon", ""] {
            assert!(parse_lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn timers_are_shown_as_they_are_read() {
        assert_eq!(show_timer(0), "off");
        assert_eq!(show_timer(5400), "1h 30m");
        assert_eq!(show_timer(604_800), "1w");
    }
}
