//! Safety numbers: two people compare them, by voice or side by side, to know that nobody is in between.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use nepto_proto::AccountId;
use nepto_proto::api::Base64;
use nepto_sdk::{Client, SafetyNumber, Verification};
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
Both sides see the same digits if nobody is in between. Compare them by voice or side by side, never in the chat itself. \
A peer has one number for each device. Once marked as compared, a change of keys stops your messages until you decide.

Examples:
  nepto safety-number @bob --qr
  nepto safety-number @bob --compare AAEC…     the code of --json, scanned from Bob's screen
  nepto safety-number @bob --verify            you have compared them
  nepto safety-number @bob --accept-change     go on after a change, unverified")]
pub struct SafetyArgs {
    /// With whom: wallet address, handle or account id
    peer: String,

    /// Show a QR code as well
    #[arg(long)]
    qr: bool,

    /// Compare a code that was scanned from your peer's device, and exit with 1 if it is of nobody's
    #[arg(long, value_name = "BASE64URL", value_parser = parse_scanned, conflicts_with = "decision")]
    compare: Option<Base64>,

    /// Remember that you compared all of the numbers
    #[arg(long, group = "decision")]
    verify: bool,

    /// Forget that you compared them
    #[arg(long, group = "decision")]
    unverify: bool,

    /// Accept that the keys of a verified peer changed, that another wallet names it, or that a removed device is back; it is
    /// unverified then
    #[arg(long, group = "decision")]
    accept_change: bool,
}

pub async fn run(app: &App, args: SafetyArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let peer = find(&client, &args.peer).await?;
    let account = peer.account;
    let mut names = Names::of(&client);
    names.insert(peer);
    let numbers = client.safety_numbers(account).await?;
    if !app.json() {
        if numbers.is_empty() && !args.accept_change {
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
    if let Some(scanned) = &args.compare {
        return compare(app, &client, account, &numbers, &scanned.0);
    }
    if args.verify && (app.json() || confirmed()?) {
        client.mark_verified(account, &numbers)?;
    }
    if args.unverify {
        client.unverify(account)?;
    }
    if args.accept_change {
        client.accept_change(account)?;
    }
    let verification = client.verification(account)?;
    if app.json() {
        let all = numbers.iter().map(|number| {
            let scannable = Base64(number.scannable.clone());
            json!({ "device": number.device, "digits": number.digits, "scannable": scannable })
        });
        return app.say_json(&json!({
            "account": account,
            "numbers": all.collect::<Vec<_>>(),
            "verification": verification_word(verification),
        }));
    }
    app.say(verification_text(verification))
}

fn parse_scanned(text: &str) -> Result<Base64, String> {
    let scanned: Option<Base64> = serde_json::from_value(text.into()).ok();
    // two fingerprints of 32 bytes, and the protobuf around them
    scanned.filter(|scanned| (64..=128).contains(&scanned.0.len())).ok_or_else(|| {
        "it is not what the QR code of a safety number says; `nepto --json safety-number PEER` prints it as \"scannable\"".to_owned()
    })
}

/// Which device a scanned code belongs to.
fn compare(
    app: &App,
    client: &Client,
    account: AccountId,
    numbers: &[SafetyNumber],
    scanned: &[u8],
) -> Result<(), Failure> {
    for number in numbers {
        if client.compare_scanned(account, number.device, scanned)? {
            return match app.json() {
                true => app.say_json(&json!({ "account": account, "device": number.device, "matches": true })),
                false => app.say(format!("The same: device {}. Once all match: --verify", number.device)),
            };
        }
    }
    let detail =
        "the scanned code belongs to no device that the server lists for this peer; somebody may be in between";
    Err(Failure::new(Exit::Error, "mismatch", detail))
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
            "The keys, the wallet or the devices CHANGED, and nothing is sent. Compare again and say --verify, or --accept-change"
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
    fn a_scanned_code_is_read_as_it_is_printed() {
        let printed = serde_json::to_value(Base64(number().scannable)).unwrap();
        assert_eq!(parse_scanned(printed.as_str().unwrap()).unwrap().0, number().scannable);
        for other in ["not base64!", "", "aGVsbG8", "01234 56789"] {
            assert!(parse_scanned(other).is_err(), "{other}");
        }
    }

    #[test]
    fn the_code_is_square() {
        let code = qr(&number()).unwrap();
        let rows: Vec<usize> = code.lines().map(|line| line.chars().count()).collect();
        assert!(rows.iter().all(|columns| *columns == rows[0]), "{rows:?}");
        assert!(rows.len() * 2 >= rows[0] && rows.len() <= 40);
    }
}
