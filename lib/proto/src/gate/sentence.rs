//! Gates as English sentences. Whatever is joined stands in parentheses of its own, and what somebody else wrote in quotes with
//! escapes, so that a sentence has one reading: two gates that differ have different sentences.

use std::fmt::{self, Display, Formatter};

use super::Gate;
use super::amount::{Amount, grouped};
use super::call::View;
use super::clause::{Clause, Erc20Sum, Erc721, Range, Trait, TraitTest};
use super::rule::Rule;
use super::values::{Count, Days, Decimals, Text};

impl Display for Gate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Admits whoever {}.", self.rule)
    }
}

/// As what is said of somebody: `holds at least 2 …`.
impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllOf(rules) => joined(f, "meets all of ", " and ", rules),
            Self::AnyOf(rules) => joined(f, "meets one of ", " or ", rules),
            Self::Not(rule) => write!(f, "does not meet ({rule})"),
            Self::AtLeast { n, of } => {
                write!(f, "meets at least {n} of: ")?;
                listed(f, ", ", of.iter().map(Parenthesised))
            }
            Self::Clause(clause) => clause.fmt(f),
        }
    }
}

/// Rules with a word between them; before one alone, where there is no between.
fn joined(f: &mut Formatter<'_>, alone: &str, between: &str, rules: &[Rule]) -> fmt::Result {
    if rules.len() == 1 {
        f.write_str(alone)?;
    }
    listed(f, between, rules.iter().map(Parenthesised))
}

struct Parenthesised<'a>(&'a Rule);

impl Display for Parenthesised<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({})", self.0)
    }
}

fn listed(f: &mut Formatter<'_>, between: &str, parts: impl IntoIterator<Item = impl Display>) -> fmt::Result {
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write!(f, "{part}")?;
    }
    Ok(())
}

/// A number for people.
struct Grouped<T>(T);

impl<T: ToString> Display for Grouped<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&grouped(&self.0.to_string()))
    }
}

/// How many decimals a token has, where that is known.
struct WithDecimals(Option<Decimals>);

impl Display for WithDecimals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Decimals(1)) => f.write_str(" (1 decimal)"),
            Some(Decimals(decimals)) => write!(f, " ({decimals} decimals)"),
            None => Ok(()),
        }
    }
}

/// So many days.
struct InDays(Days);

impl Display for InDays {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Days(1) => f.write_str("1 day"),
            Days(days) => write!(f, "{} days", Grouped(days)),
        }
    }
}

/// What somebody else wrote: nothing in it ends the quotes, and nothing in it is invisible or turns the line round.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

fn quoted(text: &Text) -> Quoted<'_> {
    Quoted(&text.0)
}

/// As what is said of somebody.
impl Display for Clause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Erc20(clause) => {
                holds_at_least(f, clause.at_least)?;
                write!(f, " of the ERC-20 token {}{}", clause.contract(), WithDecimals(clause.decimals))
            }
            Self::Erc20Sum(sum) => erc20_sum(f, sum),
            Self::Erc721(tokens) => erc721(f, tokens),
            Self::Erc1155(clause) => {
                let (at_least, id) = (Grouped(clause.at_least), clause.id);
                write!(f, "holds at least {at_least} of number {id} of the ERC-1155 {}", clause.contract())
            }
            Self::Trait(clause) => of_trait(f, clause),
            Self::Staked(clause) => {
                let (at_least, decimals) = (Grouped(clause.at_least), WithDecimals(clause.decimals));
                write!(f, "has at least {at_least} staked in {}{decimals}", clause.contract())?;
                match clause.days {
                    Some(days) => write!(f, " throughout the last {}", InDays(days)),
                    None => Ok(()),
                }
            }
            Self::AccountAge(age) => write!(f, "has an account that was made at least {} ago", InDays(age.days)),
            Self::WalletAge(age) => {
                write!(f, "has a wallet that was used on {} at least {} ago", age.chain, InDays(age.days))
            }
            Self::Allowlist(list) => {
                let count = Grouped(list.count.0);
                write!(f, "has a wallet on the allowlist {} (addresses: {count})", list.root)
            }
            Self::Role(role) => write!(f, "has the role {}", role.role.uuid()),
            Self::View(view) => of_view(f, view),
        }
    }
}

fn holds_at_least(f: &mut Formatter<'_>, amount: Amount) -> fmt::Result {
    write!(f, "holds at least {}", Grouped(amount))
}

fn erc20_sum(f: &mut Formatter<'_>, sum: &Erc20Sum) -> fmt::Result {
    holds_at_least(f, sum.at_least)?;
    f.write_str(", added up, of the ERC-20 tokens ")?;
    let tokens = sum.tokens.iter();
    listed(f, ", ", tokens.map(|token| format!("{}{}", token.contract(), WithDecimals(token.decimals))))
}

fn erc721(f: &mut Formatter<'_>, tokens: &Erc721) -> fmt::Result {
    let Count(at_least) = tokens.at_least;
    write!(f, "holds at least {} of the ERC-721 tokens", Grouped(at_least))?;
    if let Some(ids) = &tokens.ids {
        f.write_str(" numbered ")?;
        listed(f, ", ", ids)?;
    }
    write!(f, " of {}", tokens.contract())
}

fn of_trait(f: &mut Formatter<'_>, clause: &Trait) -> fmt::Result {
    let Count(at_least) = clause.at_least;
    let (at_least, property) = (Grouped(at_least), quoted(&clause.property));
    write!(f, "holds at least {at_least} of the tokens of {} whose trait {property} is ", clause.contract())?;
    match clause.test() {
        Some(TraitTest::OneOf([text])) if clause.equals.is_some() => quoted(text).fmt(f),
        Some(TraitTest::OneOf(texts)) => {
            f.write_str("one of ")?;
            listed(f, ", ", texts.iter().map(quoted))
        }
        Some(TraitTest::Within(Range { from, to })) => {
            f.write_str("a number")?;
            if let Some(from) = from {
                write!(f, " from {}", Grouped(from))?;
            }
            match to {
                Some(to) => write!(f, " up to {}", Grouped(to)),
                None => Ok(()),
            }
        }
        None => f.write_str("not said"),
    }
}

fn of_view(f: &mut Formatter<'_>, view: &View) -> fmt::Result {
    let whose = if view.names_the_wallet() { "has a wallet for which" } else { "comes while" };
    write!(f, "{whose} {} of {}, called with [", view.function, view.contract())?;
    listed(f, ", ", view.arguments.0.iter().map(|argument| Quoted(argument)))?;
    write!(f, "], answers ")?;
    match view.answer.only() {
        Some((comparison, _, value)) => write!(f, "{} {} ({})", comparison.words(), Quoted(value), view.returns),
        None => f.write_str("anything"),
    }
}
