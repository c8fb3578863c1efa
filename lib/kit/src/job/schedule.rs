//! When a job is due. Pure: times in, times out.

use std::fmt;
use std::time::Duration;

use cronexpr::Crontab;
use jiff::{Timestamp, Zoned};

use crate::clock_check::APART_MAX;

/// A due time that is older was missed: schedulers look once a second.
pub const MISSED_AFTER_MS: i64 = 60_000;
/// Of missed due times that are all caught up, those that are older are skipped.
pub const CATCH_UP_MAX_MS: i64 = 7 * 86_400_000;

/// When a job is due.
#[derive(Clone)]
pub enum Schedule {
    /// So many milliseconds after it was due last.
    Every(i64),
    /// When a cron expression says so, with what it was read from.
    Cron(Box<Crontab>, String),
}

/// What becomes of due times at which nobody ran, because no process was there or the job was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// The newest of them is made up for, the others are skipped.
    Newest,
    /// Each is made up for, the oldest first, for as long as it is younger than a week.
    All,
    /// None is made up for.
    Skip,
}

/// What to do about a job now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is not due.
    Wait,
    /// It runs, for this due time.
    Run(i64),
    /// What is due was missed; the next due time is this one.
    Skip(i64),
    /// It is due later than any clock that is right can have said. The next due time is this one.
    SetBack(i64),
}

impl Schedule {
    /// An interval; at least a millisecond.
    pub fn every(interval: Duration) -> Self {
        Self::Every((interval.as_millis() as i64).max(1))
    }

    /// A cron expression of five fields and a time zone of the IANA database.
    pub fn cron(expression: &str) -> anyhow::Result<Self> {
        let crontab = cronexpr::parse_crontab(expression).map_err(|error| {
            anyhow::anyhow!("{expression:?} is no cron expression with a time zone, like \"0 3 * * * UTC\": {error}")
        })?;
        Ok(Self::Cron(Box::new(crontab), expression.to_owned()))
    }

    /// The first due time after a moment; none if there is none in this calendar.
    pub fn after(&self, ms: i64) -> Option<i64> {
        match self {
            Self::Every(interval) => ms.checked_add(*interval),
            Self::Cron(crontab, expression) => {
                let mut next = crontab.find_next(Timestamp::from_millisecond(ms).ok()?).ok()?;
                // what is due at an hour of the day is due once on the day that has this hour twice
                while names_hours(expression) && is_repeated(&next) {
                    next = crontab.find_next(next.timestamp()).ok()?;
                }
                Some(next.timestamp().as_millisecond())
            }
        }
    }

    /// The newest due time up to `now`, of those from `due` on.
    fn newest(&self, due: i64, now: i64) -> i64 {
        match self {
            Self::Every(interval) => due + (now - due).max(0) / interval * interval,
            Self::Cron(..) => {
                // look back as little as is needed: there may be a year of minutes in between
                for lookback_ms in [3_600_000, 86_400_000, 32 * 86_400_000, i64::MAX] {
                    let from = due.max(now.saturating_sub(lookback_ms));
                    let last = std::iter::successors(self.after(from), |last| self.after(*last))
                        .take_while(|next| *next <= now)
                        .last();
                    if let Some(last) = last {
                        return last;
                    }
                }
                due
            }
        }
    }

    /// What to do at `now` about a job that is due at `due`.
    pub fn decide(&self, missed: Missed, due: i64, now: i64) -> Decision {
        if due > now {
            // who ran it last may have a clock that is a little ahead of this one
            let latest = self.after(now.saturating_add(APART_MAX.as_millis() as i64));
            return match latest {
                Some(latest) if due > latest => self.after(now).map_or(Decision::Wait, Decision::SetBack),
                _ => Decision::Wait,
            };
        }
        let next_after = |ms| self.after(ms).unwrap_or(i64::MAX);
        match missed {
            Missed::Newest => Decision::Run(self.newest(due, now)),
            Missed::All if now - due <= CATCH_UP_MAX_MS => Decision::Run(due),
            Missed::All => Decision::Skip(next_after(self.newest(due, now - CATCH_UP_MAX_MS))),
            Missed::Skip => match self.newest(due, now) {
                newest if now - newest <= MISSED_AFTER_MS => Decision::Run(newest),
                newest => Decision::Skip(next_after(newest)),
            },
        }
    }
}

/// Whether an expression is for certain hours of the day, and not for each or for every second.
fn names_hours(expression: &str) -> bool {
    expression.split_whitespace().nth(1).is_some_and(|hours| !hours.starts_with('*'))
}

/// Whether the clock shows this time once more, because it was set back.
fn is_repeated(at: &Zoned) -> bool {
    let first = at.time_zone().to_ambiguous_zoned(at.datetime()).earlier();
    first.is_ok_and(|first| first.timestamp() < at.timestamp())
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(ms) if ms % 1_000 == 0 => write!(f, "every {} s", ms / 1_000),
            Self::Every(ms) => write!(f, "every {ms} ms"),
            Self::Cron(_, expression) => f.write_str(expression),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn dues(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
        std::iter::successors(schedule.after(ms(from)), |last| schedule.after(*last))
            .take(count)
            .map(|due| Timestamp::from_millisecond(due).unwrap().to_string())
            .collect()
    }

    #[test]
    fn an_expression_means_the_clock_of_its_time_zone() {
        let schedule = Schedule::cron("30 9 * * * Europe/Berlin").unwrap();
        // summer time ends on the 25th of October 2026
        assert_eq!(
            dues(&schedule, "2026-10-24T00:00:00Z", 3),
            ["2026-10-24T07:30:00Z", "2026-10-25T08:30:00Z", "2026-10-26T08:30:00Z",]
        );
    }

    #[test]
    fn an_hour_that_there_is_not_is_skipped_and_one_that_comes_twice_counts_once() {
        let schedule = Schedule::cron("30 2 * * * Europe/Berlin").unwrap();
        let spring = dues(&schedule, "2026-03-28T12:00:00Z", 2);
        let autumn = dues(&schedule, "2026-10-24T12:00:00Z", 2);
        assert_eq!(spring, ["2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]);
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        // what is due each hour is due in both
        let hourly = Schedule::cron("30 * * * * Europe/Berlin").unwrap();
        let autumn = dues(&hourly, "2026-10-25T00:00:00Z", 3);
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]);
    }

    #[test]
    fn what_is_no_expression_is_told() {
        for wrong in ["", "* * * * *", "61 * * * * UTC", "0 3 * * * Atlantis/Capital"] {
            let error = Schedule::cron(wrong).err().unwrap().to_string();
            assert!(error.contains("no cron expression") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn missed_due_times_are_treated_as_the_job_says() {
        let hourly = Schedule::cron("0 * * * * UTC").unwrap();
        let (due, now) = (ms("2026-01-01T03:00:00Z"), ms("2026-01-01T09:20:00Z"));
        let next = ms("2026-01-01T10:00:00Z");
        assert_eq!(hourly.decide(Missed::Newest, due, now), Decision::Run(ms("2026-01-01T09:00:00Z")));
        assert_eq!(hourly.decide(Missed::All, due, now), Decision::Run(due));
        assert_eq!(hourly.decide(Missed::Skip, due, now), Decision::Skip(next));
        // a little late is not missed
        let late = ms("2026-01-01T03:00:59Z");
        assert_eq!(hourly.decide(Missed::Skip, due, late), Decision::Run(due));
        // and too old to be caught up
        let later = ms("2026-01-09T09:20:00Z");
        assert_eq!(hourly.decide(Missed::All, due, later), Decision::Skip(ms("2026-01-02T10:00:00Z")));
        for missed in [Missed::Newest, Missed::All, Missed::Skip] {
            assert_eq!(hourly.decide(missed, next, now), Decision::Wait);
        }
    }

    #[test]
    fn a_due_time_that_no_right_clock_can_have_said_is_set_back() {
        let (hourly, minutely) = (Schedule::cron("0 * * * * UTC").unwrap(), Schedule::every(Duration::from_secs(60)));
        let now = ms("2026-01-01T09:59:58Z");
        let far = ms("2026-06-01T00:00:00Z");
        assert_eq!(hourly.decide(Missed::Newest, far, now), Decision::SetBack(ms("2026-01-01T10:00:00Z")));
        assert_eq!(minutely.decide(Missed::Newest, far, now), Decision::SetBack(now + 60_000));
        // somebody whose clock is a little ahead has run what is due in two seconds here
        assert_eq!(hourly.decide(Missed::Newest, ms("2026-01-01T11:00:00Z"), now), Decision::Wait);
        assert_eq!(minutely.decide(Missed::Newest, now + 64_000, now), Decision::Wait);
        assert_eq!(minutely.decide(Missed::Newest, now + 64_001, now), Decision::SetBack(now + 60_000));
        // what has no next due time in this calendar has none
        assert_eq!(minutely.decide(Missed::Newest, i64::MAX, i64::MAX - 1), Decision::Wait);
    }

    #[test]
    fn a_job_of_each_minute_that_was_paused_for_years_is_decided_at_once() {
        let schedule = Schedule::cron("* * * * * UTC").unwrap();
        let (due, now) = (ms("2001-01-01T00:00:00Z"), ms("2026-01-01T00:00:30Z"));
        assert_eq!(schedule.decide(Missed::Newest, due, now), Decision::Run(ms("2026-01-01T00:00:00Z")));
        let yearly = Schedule::cron("0 0 1 3 * UTC").unwrap();
        assert_eq!(yearly.decide(Missed::Newest, due, now), Decision::Run(ms("2025-03-01T00:00:00Z")));
    }

    proptest! {
        /// Whatever a job says: no due time runs twice, none runs early, and each tick brings it nearer to the present.
        #[test]
        fn due_times_go_forward(interval in 1_i64..100_000, due in 0_i64..1_000_000, late in -10_000_i64..10_000_000) {
            let schedule = Schedule::Every(interval);
            let now = due + late;
            for missed in [Missed::Newest, Missed::All, Missed::Skip] {
                match schedule.decide(missed, due, now) {
                    Decision::Wait => prop_assert!(due > now),
                    Decision::SetBack(next) => prop_assert!(next > now && next < due),
                    Decision::Run(run) => {
                        prop_assert!(run >= due && run <= now && (run - due) % interval == 0);
                        prop_assert!(missed == Missed::All || run + interval > now);
                    }
                    Decision::Skip(next) => prop_assert!(next > due && (next - due) % interval == 0),
                }
            }
        }
    }
}
