//! What is typed: words, or a command behind a slash.

use crate::duration::parse_timer;

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Text(String),
    Command(Command),
}

/// A command. Numbers are those in front of the messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Help,
    Accept,
    Block,
    Unblock,
    React { emoji: String, number: Option<u64>, remove: bool },
    Reply { number: u64, text: String },
    Edit { number: u64, text: String },
    Delete { number: u64 },
    Retry { number: u64 },
    Timer(Option<u32>),
    Safety,
    Verify,
    AcceptChange,
    History(usize),
    Pin { number: u64, remove: bool },
    Quit,
}

/// Of each its name, what stands behind it, and what it does: help, completion and hints read it, and what it does not name is no
/// command.
pub type Commands = &'static [(&'static str, &'static str, &'static str)];

/// Those of a conversation.
pub const COMMANDS: Commands = &[
    ("accept", "", "let them write to you; they see receipts from now on"),
    ("block", "", "take nothing more of them; what they send is refused"),
    ("unblock", "", "undo a block"),
    ("react", "EMOJI [N]", "react to message N, or to their last one"),
    ("unreact", "EMOJI [N]", "take a reaction back"),
    ("reply", "N TEXT", "answer message N"),
    ("edit", "N TEXT", "change your message N"),
    ("delete", "N", "take your message N back"),
    ("retry", "N", "try your message N again that was not sent"),
    ("timer", "[1h|off]", "let new messages disappear after they were read"),
    ("safety", "", "show the safety number, to compare by voice"),
    ("verify", "", "you have compared it: stop if keys change"),
    ("accept-change", "", "go on although keys changed; unverified"),
    ("history", "[N]", "load N older messages"),
    ("help", "", "this list"),
    ("quit", "", "leave; so does Ctrl-D"),
];

/// Those of a channel.
pub const OF_CHANNELS: Commands = &[
    ("react", "EMOJI [N]", "react to message N, or to the last one of others"),
    ("unreact", "EMOJI [N]", "take a reaction back"),
    ("reply", "N TEXT", "answer message N"),
    ("edit", "N TEXT", "change your message N"),
    ("delete", "N", "delete message N; those of others by manage_messages"),
    ("pin", "N", "pin message N, by pin_messages"),
    ("unpin", "N", "take the pin away"),
    ("history", "[N]", "load N older messages"),
    ("help", "", "this list"),
    ("quit", "", "leave; so does Ctrl-D"),
];

/// Messages that `/history` loads without a number.
const HISTORY_STEP: usize = 50;

/// Reads a line. `None`: nothing was typed. Two slashes begin a text with one.
pub fn parse(line: &str, commands: Commands) -> Result<Option<Entry>, String> {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Ok(None);
    }
    let Some(command) = trimmed.strip_prefix('/') else {
        return Ok(Some(Entry::Text(line.trim_end().to_owned())));
    };
    if command.starts_with('/') {
        return Ok(Some(Entry::Text(command.to_owned())));
    }
    let (name, rest) = split(command);
    let wrong = || match commands.iter().find(|(known, ..)| *known == name) {
        Some((_, arguments, _)) => format!("write it like this: /{name} {arguments}"),
        None => format!("there is no command /{name}; /help lists them"),
    };
    let is_listed = commands.iter().any(|(known, ..)| *known == name);
    let command = match name {
        "?" => Command::Help,
        "exit" | "q" => Command::Quit,
        _ if !is_listed => return Err(wrong()),
        "help" => Command::Help,
        "accept" => Command::Accept,
        "block" => Command::Block,
        "unblock" => Command::Unblock,
        "react" | "unreact" => {
            let (emoji, number) = split(rest);
            if emoji.is_empty() {
                return Err(wrong());
            }
            let number = if number.is_empty() { None } else { Some(message_number(number).ok_or_else(wrong)?) };
            Command::React { emoji: emoji.to_owned(), number, remove: name == "unreact" }
        }
        "reply" => numbered(rest).map(|(number, text)| Command::Reply { number, text }).ok_or_else(wrong)?,
        "edit" => numbered(rest).map(|(number, text)| Command::Edit { number, text }).ok_or_else(wrong)?,
        "delete" => Command::Delete { number: message_number(rest).ok_or_else(wrong)? },
        "retry" => Command::Retry { number: message_number(rest).ok_or_else(wrong)? },
        "timer" if rest.is_empty() => Command::Timer(None),
        "timer" => Command::Timer(Some(parse_timer(rest)?)),
        "safety" => Command::Safety,
        "verify" => Command::Verify,
        "accept-change" => Command::AcceptChange,
        "history" if rest.is_empty() => Command::History(HISTORY_STEP),
        "history" => Command::History(rest.parse().map_err(|_| wrong())?),
        "pin" | "unpin" => Command::Pin { number: message_number(rest).ok_or_else(wrong)?, remove: name == "unpin" },
        "quit" => Command::Quit,
        _ => return Err(wrong()),
    };
    Ok(Some(Entry::Command(command)))
}

/// How the command that is being typed goes on: for Tab.
pub fn complete(line: &str, commands: Commands) -> Option<&'static str> {
    let begun = line.strip_prefix('/')?;
    let mut fitting = commands.iter().map(|(name, ..)| *name).filter(|name| name.starts_with(begun));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(first)
}

/// What stands behind a command that is being typed, in grey.
pub fn hint(line: &str, commands: Commands) -> Option<String> {
    let begun = line.strip_prefix('/').filter(|begun| !begun.starts_with('/'))?;
    if let Some((_, arguments, what)) = commands.iter().find(|(name, ..)| *name == begun) {
        return Some(format!(" {arguments}{}{what}", if arguments.is_empty() { "" } else { "   " }));
    }
    let name = complete(line, commands)?;
    Some(name[begun.len()..].to_owned())
}

fn split(text: &str) -> (&str, &str) {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, rest.trim())
}

fn message_number(text: &str) -> Option<u64> {
    text.trim_start_matches('#').parse().ok()
}

fn numbered(rest: &str) -> Option<(u64, String)> {
    let (number, text) = split(rest);
    let number = message_number(number)?;
    (!text.is_empty()).then(|| (number, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Entry>, String> {
        super::parse(line, COMMANDS)
    }

    fn complete(line: &str) -> Option<&'static str> {
        super::complete(line, COMMANDS)
    }

    fn hint(line: &str) -> Option<String> {
        super::hint(line, COMMANDS)
    }

    fn command(line: &str) -> Command {
        match parse(line) {
            Ok(Some(Entry::Command(command))) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn words_are_words() {
        assert_eq!(parse("  "), Ok(None));
        assert_eq!(parse("hello there "), Ok(Some(Entry::Text("hello there".into()))));
        assert_eq!(parse("  indented"), Ok(Some(Entry::Text("  indented".into()))));
        assert_eq!(parse("//etc is a folder"), Ok(Some(Entry::Text("/etc is a folder".into()))));
        assert_eq!(parse("a /help b"), Ok(Some(Entry::Text("a /help b".into()))));
    }

    #[test]
    fn commands_are_read_with_their_arguments() {
        assert_eq!(command("/react 👍"), Command::React { emoji: "👍".into(), number: None, remove: false });
        assert_eq!(command("/unreact 👍 #7"), Command::React { emoji: "👍".into(), number: Some(7), remove: true });
        assert_eq!(command("/reply 3  yes, I do"), Command::Reply { number: 3, text: "yes, I do".into() });
        assert_eq!(command("/edit #3 new"), Command::Edit { number: 3, text: "new".into() });
        assert_eq!(command("/delete 12"), Command::Delete { number: 12 });
        assert_eq!(command("/timer"), Command::Timer(None));
        assert_eq!(command("/timer off"), Command::Timer(Some(0)));
        assert_eq!(command("/timer 1h"), Command::Timer(Some(3600)));
        assert_eq!(command("/history"), Command::History(HISTORY_STEP));
        assert_eq!(command("  /quit "), Command::Quit);
    }

    #[test]
    fn a_slip_is_explained_and_never_sent() {
        assert_eq!(parse("/reply 3"), Err("write it like this: /reply N TEXT".into()));
        assert_eq!(parse("/reply x y"), Err("write it like this: /reply N TEXT".into()));
        assert_eq!(parse("/delete"), Err("write it like this: /delete N".into()));
        assert_eq!(parse("/react"), Err("write it like this: /react EMOJI [N]".into()));
        assert!(parse("/timer soon").is_err());
        assert_eq!(parse("/delte 3"), Err("there is no command /delte; /help lists them".into()));
        assert_eq!(parse("/"), Err("there is no command /; /help lists them".into()));
    }

    #[test]
    fn every_listed_command_exists() {
        for commands in [COMMANDS, OF_CHANNELS] {
            for (name, arguments, _) in commands {
                let line = match *arguments {
                    "EMOJI [N]" => format!("/{name} x 1"),
                    "N TEXT" => format!("/{name} 1 x"),
                    "N" => format!("/{name} 1"),
                    _ => format!("/{name}"),
                };
                assert!(matches!(super::parse(&line, commands), Ok(Some(Entry::Command(_)))), "{line}");
            }
        }
    }

    #[test]
    fn channels_have_commands_of_their_own() {
        let pin = Entry::Command(Command::Pin { number: 3, remove: false });
        assert_eq!(super::parse("/pin #3", OF_CHANNELS), Ok(Some(pin)));
        assert!(parse("/pin 3").is_err(), "nothing is pinned in a conversation");
        assert_eq!(super::parse("/safety", OF_CHANNELS), Err("there is no command /safety; /help lists them".into()));
        assert_eq!(super::complete("/rep", OF_CHANNELS), Some("reply"));
    }

    #[test]
    fn tab_completes_what_is_clear() {
        assert_eq!(complete("/sa"), Some("safety"));
        assert_eq!(complete("/re"), None, "react, reply or retry");
        assert_eq!(complete("sa"), None);
        assert_eq!(hint("/sa").as_deref(), Some("fety"));
        assert_eq!(hint("/delete").as_deref(), Some(" N   take your message N back"));
    }
}
