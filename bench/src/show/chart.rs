//! Small charts of block characters.

use hdrhistogram::Histogram;

/// Columns of a full bar.
const BAR_COLUMNS: usize = 40;
/// Columns of a sparkline; longer runs are averaged.
const SPARK_COLUMNS: usize = 60;
const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How many messages took how long: a bar for each doubling.
pub fn latency(histogram: &Histogram<u64>) -> String {
    let buckets = buckets(histogram);
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let mut text = String::from("  latency\n");
    for (upper_us, count) in buckets {
        let share = count as f64 * 100.0 / histogram.len().max(1) as f64;
        let bar = "█".repeat((count as f64 * BAR_COLUMNS as f64 / most.max(1) as f64).ceil() as usize);
        text += &format!("  {:>10} {bar:<BAR_COLUMNS$} {share:>6.2} %\n", format!("≤ {}", time(upper_us)));
    }
    text
}

/// Upper bounds in microseconds that double, from the first to the last that counts anything.
pub fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut buckets = Vec::new();
    let (mut from, mut upper) = (0, 125);
    while from <= histogram.max() && !histogram.is_empty() {
        let count = histogram.count_between(from, upper);
        if count > 0 || !buckets.is_empty() {
            buckets.push((upper, count));
        }
        from = upper + 1;
        upper *= 2;
    }
    buckets
}

/// Deliveries in each second.
pub fn throughput(seconds: &[u64]) -> String {
    // the last second is not a whole one
    let whole = &seconds[..seconds.len().saturating_sub(1)];
    let (Some(most), Some(least)) = (whole.iter().max(), whole.iter().min()) else { return String::new() };
    let step = whole.len().div_ceil(SPARK_COLUMNS).max(1);
    let line: String = whole
        .chunks(step)
        .map(|chunk| {
            let mean = chunk.iter().sum::<u64>() as f64 / chunk.len() as f64;
            EIGHTHS[((mean * 7.0 / (*most).max(1) as f64).round() as usize).min(7)]
        })
        .collect();
    format!("  delivered by the second, {least} to {most}\n  {line}\n")
}

/// A time of microseconds in the unit that people would choose.
pub fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{:.2} ms", us as f64 / 1_000.0),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_in_one_bar() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 120_000_000, 3).unwrap();
        assert!(buckets(&histogram).is_empty());
        for value in [200, 250, 251, 700, 90_000, 2_000_000] {
            histogram.record(value).unwrap();
        }
        let buckets = buckets(&histogram);
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 6);
        assert_eq!(buckets[0], (250, 2));
        assert!(latency(&histogram).contains("≤ 0.25 ms"));
    }

    #[test]
    fn a_line_has_a_block_for_each_whole_second() {
        assert!(throughput(&[10, 20, 40, 3]).ends_with("▃▅█\n"));
        assert_eq!(throughput(&[7]), "");
    }
}
