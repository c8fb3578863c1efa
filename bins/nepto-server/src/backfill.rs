//! `watcher --backfill FROM..TO`: reads older blocks, and shows how it goes.

use std::str::FromStr;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use nepto_domains::chains::Chains;
use nepto_domains::collector::Backfill;
use nepto_kit::Ctx;

/// Heights, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: u64,
    /// The newest block, if not given.
    to: Option<u64>,
}

impl FromStr for Range {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "two heights like 1000..2000, or one like 1000..";
        let (from, to) = text.split_once("..").ok_or(FORM)?;
        let from = from.parse().map_err(|_| FORM)?;
        let to = match to {
            "" => None,
            to => Some(to.parse().map_err(|_| FORM)?),
        };
        if to.is_some_and(|to| to < from) {
            return Err("the range ends before it begins");
        }
        Ok(Self { from, to })
    }
}

/// Reads the range; Ctrl-C keeps what was read, and the next run goes on from there.
pub async fn run(ctx: &Ctx, chain: Option<u64>, range: &Range) -> anyhow::Result<()> {
    let chain = match (chain, &ctx.config.section::<Chains>()[..]) {
        (Some(chain), _) => chain,
        (None, [only]) => only.id,
        (None, []) => anyhow::bail!("no chain is configured; see [[chains]] in docs/nepto.example.toml"),
        (None, _) => anyhow::bail!("several chains are configured; choose one with --chain"),
    };
    let mut backfill = Backfill::new(ctx, chain, range.from, range.to).await?;
    if backfill.total() == 0 {
        println!("Every contract has seen these blocks already.");
        return Ok(());
    }
    let template = "{bar:40} {pos}/{len} blocks  {per_sec}  {msg}  {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(backfill.total()).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    loop {
        let left = tokio::select! {
            left = backfill.proceed() => left?,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                bar.abandon();
                anyhow::bail!("interrupted; what was read is kept, run it again for the rest");
            }
        };
        bar.set_position(backfill.total() - left);
        bar.set_message(format!("{} events", backfill.logs()));
        if left == 0 {
            break;
        }
    }
    bar.finish();
    println!("Read {} blocks with {} events; the pipelines take them from here.", backfill.total(), backfill.logs());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!("5..9".parse(), Ok(Range { from: 5, to: Some(9) }));
        assert_eq!("5..".parse(), Ok(Range { from: 5, to: None }));
        for wrong in ["5", "..5", "9..5", "a..b", "5..-1"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }
}
