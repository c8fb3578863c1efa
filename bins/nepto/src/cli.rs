//! The command line.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use crate::chat::ChatArgs;
use crate::commands::{
    account, admin, channel, community, contacts, devices, follow, history, inbox, login, message, post, read, role,
    safety, save, send, sessions, shell, wallets,
};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

macro_rules! first_steps {
    () => {
        "\
First steps:
  nepto login --server https://chat.example.org --new-keystore wallet.json
  nepto profile --handle alice
  nepto chat 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266

In a script:
  export NEPTO_PASSPHRASE_FILE=/run/secrets/nepto
  nepto login --server https://chat.example.org --key-stdin < key.txt
  nepto send @bob \"backup done\" --timeout 30
  nepto inbox --json --wait 60

A PEER is named by wallet address (safest: the server can't give another account for it), handle or account id."
    };
}
const AFTER_HELP: &str = first_steps!();
const AFTER_LONG_HELP: &str = concat!(
    first_steps!(),
    "

Exit codes:
  0  done
  1  something went wrong: see the message
  2  the command line is wrong
  3  not signed in
  4  the server refused; its stable code is printed
  5  the server could not be reached, or no answer in time
  6  there is no such account
With --json an error is one object on standard error: {\"code\": …, \"detail\": …}

Environment:
  NEPTO_PROFILE          folder of the profile
  NEPTO_PASSPHRASE_FILE  file with the passphrase of the profile
  NEPTO_PASSPHRASE       the passphrase itself; a file is safer
  NO_COLOR               no colours"
);

/// Chat from a terminal or a script, end-to-end encrypted. You sign in with an Ethereum wallet.
#[derive(Debug, Parser)]
#[command(name = "nepto", version, styles = STYLES, max_term_width = 110)]
#[command(after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP, infer_subcommands = false)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Folder of the profile: one signed-in device with its history [default: nepto/default in the user's data folder]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "NEPTO_PROFILE",
        hide_env = true,
        help_heading = "Global options"
    )]
    pub profile: Option<PathBuf>,

    /// File with the profile's passphrase on its first line; `-`: first line of standard input. Else it is asked for
    #[arg(long, global = true, value_name = "FILE", env = "NEPTO_PASSPHRASE_FILE", hide_env = true)]
    #[arg(help_heading = "Global options")]
    pub passphrase_file: Option<PathBuf>,

    /// Answer in JSON, one object a line; errors too
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,

    /// Tell what happens underneath, on standard error; twice: more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
}

/// What the program does; the text of each is its help.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign in with a wallet; a new profile becomes a new device
    Login(login::LoginArgs),
    /// Show who is signed in
    Whoami,
    /// Show or change what others see of you
    Profile(account::ProfileArgs),
    /// Chat with somebody or in a channel: full screen on a terminal, line by line in a pipe
    Chat(ChatArgs),
    /// Send one message and wait until the server has stored it
    Send(send::SendArgs),
    /// Download the files of a message
    Save(save::SaveArgs),
    /// Fetch and show unread messages
    Inbox(inbox::InboxArgs),
    /// Show a conversation's messages
    History(history::HistoryArgs),
    /// List people; accept, block or unblock them
    Contacts(contacts::ContactsArgs),
    /// Communities: make, find, join and leave them, invite people, and keep order
    Community(community::CommunityArgs),
    /// Channels of a community, and what is different in them from what roles say everywhere
    Channel(channel::ChannelArgs),
    /// Roles of a community: what they allow, their order, and who has them
    Role(role::RoleArgs),
    /// Post a message in a channel and wait until the server has stored it
    Post(post::PostArgs),
    /// Show messages of a channel
    Read(read::ReadArgs),
    /// Say what is unread in your communities
    Unread(read::UnreadArgs),
    /// Show what happens in a channel, until you end it
    Follow(follow::FollowArgs),
    /// Edit, delete and pin messages of channels, and react to them
    Message(message::MessageArgs),
    /// Compare the safety number with a peer, to know that nobody is in between
    SafetyNumber(safety::SafetyArgs),
    /// List or revoke your devices
    Devices(devices::DevicesArgs),
    /// List, link or unlink your wallets
    Wallets(wallets::WalletsArgs),
    /// List where you are signed in
    Sessions,
    /// Print an access token for the HTTP API; it is good for some minutes
    #[command(after_help = "\
Example:
  curl -H \"Authorization: Bearer $(nepto token)\" https://chat.example.org/v1/assets/mine")]
    Token,
    /// Sign out; the history stays in the profile
    SignOut(sessions::SignOutArgs),
    /// Show or change what this device does by itself
    Settings(account::SettingsArgs),
    /// Change the passphrase of the profile
    Passphrase(account::PassphraseArgs),
    /// For operators: look at a server's chains and dead letters, invite people
    Admin(admin::AdminArgs),
    /// Print completions for a shell
    Completions(shell::CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use nepto_proto::permissions::{Permission, Permissions};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_wallet_at_a_time() {
        assert!(parse("nepto login --server http://a --key-stdin").is_ok());
        assert!(parse("nepto login --server http://a --key-stdin --keystore x").is_err());
        assert!(parse("nepto login --server http://a --new-keystore y --keystore x").is_err());
        assert!(parse("nepto login --server http://a --key-stdin --index 1").is_err());
        assert!(parse("nepto login --server http://a --mnemonic-stdin --index 1").is_ok());
        assert!(parse("nepto login --key-stdin").is_err(), "a server is needed");
        let contract = "--contract-wallet 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        assert!(parse(&format!("nepto login --server http://a --key-stdin {contract} --chain-id 10")).is_ok());
        assert!(parse(&format!("nepto login --server http://a --key-stdin {contract}")).is_err(), "on which chain?");
        assert!(parse(&format!("nepto login --server http://a --new-keystore y {contract} --chain-id 10")).is_err());
    }

    #[test]
    fn global_options_stand_anywhere() {
        let cli = parse("nepto inbox --json --profile /p -vv").unwrap();
        assert!(cli.global.json && cli.global.verbose == 2);
        assert_eq!(cli.global.profile, Some(PathBuf::from("/p")));
    }

    #[test]
    fn values_are_checked_before_anything_happens() {
        assert!(parse("nepto send bob hi there --expire 1h --timeout 5s --reply-to 3").is_ok());
        assert!(
            parse("nepto send bob --file a.jpg --file b.jpg look").is_ok() && parse("nepto send bob --file").is_err()
        );
        assert!(parse("nepto save latest --to pictures").is_ok() && parse("nepto save 12").is_ok());
        assert!(parse("nepto save").is_err());
        assert!(parse("nepto send bob hi --expire soon").is_err());
        assert!(parse("nepto inbox --wait 5 --follow").is_err());
        assert!(parse("nepto history bob --limit 1").is_ok() && parse("nepto history bob --limit 0").is_err());
        assert!(parse("nepto devices revoke 0").is_err());
        assert!(parse("nepto devices revoke 128").is_err());
        assert!(parse("nepto contacts").is_ok() && parse("nepto contacts block").is_err());
    }

    #[test]
    fn communities_are_spoken_of_in_one_way() {
        let right = [
            "community create Gardeners --visibility public",
            "community invite Gardeners --uses 3 --expires 7d --role helpers",
            "community join abcdefghjkmnpqrs",
            "community ban Gardeners @bob --for 7d --reason spam",
            "community time-out Gardeners @bob --for 1h",
            "community time-out Gardeners @bob --lift",
            "community discover",
            "channel create Gardeners tomatoes --slow-mode 10s --private",
            "channel move Gardeners #tomatoes --position 2 --no-category",
            "channel override Gardeners #tomatoes --role everyone --deny send_messages,attach_files",
            "role create Gardeners helpers --allow kick_members,manage_messages --color #2ecc71",
            "role sort Gardeners helpers friends",
            "role grant Gardeners helpers @bob",
        ];
        for line in right {
            assert!(parse(&format!("nepto {line}")).is_ok(), "{line}");
        }
        let wrong = [
            "community",
            "community create Gardeners --visibility secret",
            "community invite Gardeners --uses 0",
            "community time-out Gardeners @bob",
            "community time-out Gardeners @bob --for 1h --lift",
            "channel override Gardeners #tomatoes --deny send_messages",
            "channel override Gardeners #tomatoes --role a --member b",
            "channel override Gardeners #tomatoes --role a --allow administrator",
            "channel move Gardeners #tomatoes --category a --no-category",
            "role create Gardeners helpers --allow fly",
            "role create Gardeners helpers --color green",
            "role sort Gardeners",
        ];
        for line in wrong {
            assert!(parse(&format!("nepto {line}")).is_err(), "{line}");
        }
    }

    #[test]
    fn channels_are_read_and_written_by_names_and_ids() {
        let id = "01a20f45-3b70-8798-8447-5c3c2f236885";
        let right = [
            "post Gardeners/tomatoes the red ones --timeout 5s".to_owned(),
            format!("post {id} yes --reply-to {id}"),
            "read Gardeners/#tomatoes --limit 200 --peek --ids".to_owned(),
            format!("read {id} --around {id}"),
            "unread".to_owned(),
            "unread Gardeners".to_owned(),
            "follow Gardeners/tomatoes --history 0".to_owned(),
            format!("message edit Gardeners/tomatoes {id} the red ones"),
            format!("message delete Gardeners/tomatoes {id}"),
            format!("message react Gardeners/tomatoes {id} 👍 --remove"),
            format!("message pin Gardeners/tomatoes {id}"),
            "message pins Gardeners/tomatoes".to_owned(),
        ];
        for line in right {
            assert!(parse(&format!("nepto {line}")).is_ok(), "{line}");
        }
        let wrong = [
            "post".to_owned(),
            "post Gardeners/tomatoes yes --reply-to 7".to_owned(),
            "read Gardeners/tomatoes --limit 0".to_owned(),
            "read Gardeners/tomatoes --limit 201".to_owned(),
            format!("read {id} --before {id} --after {id}"),
            format!("read {id} --after {id} --around {id}"),
            "message edit Gardeners/tomatoes".to_owned(),
            format!("message react Gardeners/tomatoes {id}"),
        ];
        for line in wrong {
            assert!(parse(&format!("nepto {line}")).is_err(), "{line}");
        }
    }

    #[test]
    fn the_help_names_every_permission() {
        let cli = Cli::command();
        let help = |name: &str| cli.find_subcommand(name).unwrap().get_after_help().unwrap().to_string();
        let (of_roles, of_channels) = (help("role"), help("channel"));
        for permission in Permission::ALL {
            let name = permission.as_str();
            assert!(of_roles.contains(name), "{name}");
            assert_eq!(of_channels.contains(name), Permissions::CHANNEL.contains(permission), "{name}");
        }
    }

    #[test]
    fn no_option_takes_a_secret() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments() {
                let name = arg.get_id().as_str();
                let secret = ["passphrase", "password", "key", "mnemonic"].iter().any(|word| name.contains(word));
                let value = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str());
                let harmless = !arg.get_action().takes_values() || value == Some("FILE");
                assert!(!secret || harmless, "{} --{name}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
