//! The charts as one small SVG, readable on light and dark pages.

use std::fmt::Write;

use super::chart;
use crate::scenario::Outcome;

const WIDTH: f64 = 640.0;
const PANEL: f64 = 160.0;
const LEFT: f64 = 60.0;
const GAP: f64 = 50.0;

/// Latency on top, throughput below; what a scenario lacks is left out.
pub fn svg(outcome: &Outcome) -> String {
    let latency: Vec<(String, f64)> = outcome.latency.as_ref().map_or_else(Vec::new, |histogram| {
        let all = histogram.len().max(1) as f64;
        let share = |(upper, count): (u64, u64)| (chart::time(upper), count as f64 * 100.0 / all);
        chart::buckets(histogram).into_iter().map(share).collect()
    });
    let whole = outcome.seconds.len().saturating_sub(1);
    let seconds: Vec<(String, f64)> = outcome.seconds[..whole]
        .iter()
        .enumerate()
        .map(|(second, count)| (label_second(second, whole), *count as f64))
        .collect();
    let panels = [("messages by latency, %", latency), ("messages delivered a second", seconds)];
    let panels: Vec<_> = panels.into_iter().filter(|(_, bars)| !bars.is_empty()).collect();
    let height = GAP + panels.len() as f64 * (PANEL + GAP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"#808080\">\n"
    );
    // writing to a string does not fail
    let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>", title(outcome));
    for (index, (name, bars)) in panels.iter().enumerate() {
        panel(&mut text, GAP + index as f64 * (PANEL + GAP), name, bars);
    }
    text + "</svg>\n"
}

fn title(outcome: &Outcome) -> String {
    let figures = &outcome.figures;
    let mut title = format!("{}, {} devices", figures.scenario, figures.conns);
    if let Some(rate) = figures.delivered_per_s {
        let _ = write!(title, ", {rate:.0} messages/s");
    }
    if let (Some(p50), Some(p99)) = (figures.p50_ms, figures.p99_ms) {
        let _ = write!(title, ", p50 {p50:.2} ms, p99 {p99:.2} ms");
    }
    title
}

/// Every tenth of the seconds has a name.
fn label_second(second: usize, of: usize) -> String {
    if second.is_multiple_of(of.div_ceil(10).max(1)) { format!("{second} s") } else { String::new() }
}

fn panel(text: &mut String, top: f64, name: &str, bars: &[(String, f64)]) {
    let most = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let (base, step) = (top + PANEL, (WIDTH - LEFT - 10.0) / bars.len() as f64);
    let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"{:.1}\">{name}</text>", top - 6.0);
    let _ = writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{most:.0}</text>", LEFT - 6.0, top + 8.0);
    let _ = writeln!(text, "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"end\">0</text>", LEFT - 6.0);
    for (index, (label, value)) in bars.iter().enumerate() {
        let (x, height) = (LEFT + index as f64 * step, value / most * PANEL);
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"#4a7fd0\"/>",
            base - height,
            (step * 0.85).max(0.5)
        );
        if !label.is_empty() {
            let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"9\">{label}</text>", base + 14.0);
        }
    }
    let right = WIDTH - 10.0;
    let _ = writeln!(text, "<path d=\"M{LEFT} {base:.1}H{right}\" stroke=\"#808080\" fill=\"none\"/>");
}
