//! How far a file is, for people at a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::app::App;
use crate::text::clean_line;

/// A bar on standard error; programs see none, and neither does a pipe.
pub fn bar(app: &App, name: &str) -> ProgressBar {
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style).with_message(clean_line(name));
    if app.json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// So many bytes of so many.
pub fn show(bar: &ProgressBar, done: u64, of: u64) {
    bar.set_length(of);
    bar.set_position(done);
}
