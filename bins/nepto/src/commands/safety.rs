//! Safety numbers: two people compare them, by voice or side by side, to know that nobody is in between.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use nepto_sdk::{SafetyNumber, Verification};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;

use super::find;
use crate::app::App;
use crate::failure::{Exit, Failure};
use crate::names::Names;

/// Shows a safety number.
#[derive(Debug, Args)]
#[command(after_help = "\
Both sides see the same digits if nobody is in between. Compare them by voice or side by side, never in the chat itself.
A peer has one number for each device. Once marked as compared, a change of keys stops your messages until you decide.

Examples:
  nepto safety-number @bob --qr
  nepto safety-number @bob --verify            you have compared them
  nepto safety-number @bob --accept-change     go on after a change, unverified")]
pub struct SafetyArgs {
    /// With whom: wallet address, handle or account id
    peer: String,

    /// Show a QR code as well
    #[arg(long)]
    qr: bool,

    /// Remember that you compared all of the numbers
    #[arg(long, group = "decision")]
    verify: bool,

    /// Forget that you compared them
    #[arg(long, group = "decision")]
    unverify: bool,

    /// Accept that the keys of a verified peer changed; it is unverified then
    #[arg(long, group = "decision")]
    accept_change: bool,
}

pub async fn run(app: &App, args: SafetyArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let peer = find(&client, &args.peer).await?;
    let account = peer.account;
    let mut names = Names::new(client.account());
    names.insert(peer);
    let numbers = client.safety_numbers(account).await?;
    if !app.json() {
        if numbers.is_empty() {
            let detail = format!("{} has no other device to compare with", names.full(account));
            return Err(Failure::new(Exit::Error, "no_device", detail));
        }
        app.say(format!("Safety number with {}", names.full(account)))?;
        for number in &numbers {
            app.say(format!("\n  device {}", number.device))?;
            groups(number).iter().try_for_each(|row| app.say(format!("    {row}")))?;
            if args.qr {
                app.say(format!("\n{}", qr(number)?))?;
            }
        }
        app.say("")?;
    }
    if args.verify && (app.json() || confirmed()?) {
        client.mark_verified(account, true)?;
    }
    if args.unverify {
        client.mark_verified(account, false)?;
    }
    if args.accept_change {
        client.accept_change(account)?;
    }
    let verification = client.verification(account)?;
    if app.json() {
        let all = numbers.iter().map(|number| json!({ "device": number.device, "digits": number.digits }));
        return app.say_json(&json!({
            "account": account,
            "numbers": all.collect::<Vec<_>>(),
            "verification": verification_word(verification),
        }));
    }
    app.say(verification_text(verification))
}

/// 60 digits as people know them: three rows of four groups.
pub fn groups(number: &SafetyNumber) -> Vec<String> {
    number.groups().chunks(4).map(|row| row.join(" ")).collect()
}

/// The scannable form, in half blocks.
pub fn qr(number: &SafetyNumber) -> Result<String, Failure> {
    let code = QrCode::new(&number.scannable).map_err(|error| Failure::other(error.to_string()))?;
    // the light modules are drawn: most terminals are bright on dark
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// On a terminal a person says so; a script has said so already.
fn confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    print!("Have you compared all of these digits with the ones your peer sees? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn verification_word(verification: Verification) -> &'static str {
    match verification {
        Verification::Unverified => "unverified",
        Verification::Verified => "verified",
        Verification::Changed => "changed",
    }
}

fn verification_text(verification: Verification) -> &'static str {
    match verification {
        Verification::Unverified => "Not compared yet. When you have: --verify",
        Verification::Verified => "You have compared it. If keys change, nothing is sent until you decide.",
        Verification::Changed => {
            "The keys CHANGED since you compared them, and nothing is sent. Compare again and say --verify, \
             or --accept-change"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number() -> SafetyNumber {
        let digits = (0..60).map(|digit| char::from(b'0' + digit % 10)).collect();
        let device = nepto_proto::DeviceId::try_from(1).unwrap();
        SafetyNumber { device, digits, scannable: vec![7; 80] }
    }

    #[test]
    fn digits_stand_in_three_rows_of_four_groups() {
        assert_eq!(groups(&number()), ["01234 56789 01234 56789"; 3]);
    }

    #[test]
    fn the_code_is_square() {
        let code = qr(&number()).unwrap();
        let rows: Vec<usize> = code.lines().map(|line| line.chars().count()).collect();
        assert!(rows.iter().all(|columns| *columns == rows[0]), "{rows:?}");
        assert!(rows.len() * 2 >= rows[0] && rows.len() <= 40);
    }
}
