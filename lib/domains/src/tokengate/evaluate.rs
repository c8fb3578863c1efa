//! Whether somebody passes a gate, as far as is known, and why. Pure: facts in, a tree of reasons out.
//!
//! What must hold: what is unknown is unknown, and never nothing; more knowledge never turns a yes into a no or back; a clause
//! looks at each of its questions once. Words are made only for whoever reads them.

use std::collections::BTreeSet;

use alloy_primitives::{Address, U256};
use nepto_kit::clock::from_ms;
use nepto_proto::gate::call::View;
use nepto_proto::gate::clause::{Erc20Sum, Trait};
use nepto_proto::gate::values::{Days, TokenIds};
use nepto_proto::gate::{Clause, Decimals, Gate, Place, Reading, Rule, Truth, UnknownReason, Why};

use super::facts::{Answer, Asked, Depth, DescribedToken, Facts, asked_by};
use super::total::Total;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Which facts count.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Now: milliseconds since 1970.
    pub now_ms: i64,
    /// How settled the block of a chain must be.
    pub depth: Depth,
    /// How old the block of a chain may be.
    pub age_ms_max: i64,
}

/// Evaluates a gate of somebody who has these wallets, and says why.
pub fn evaluate(gate: &Gate, wallets: &BTreeSet<Address>, facts: &Facts, terms: Terms) -> Why {
    Evaluation { wallets, facts, terms, is_told: true }.rule(&gate.rule, &Place::ROOT.name("rule"))
}

/// The same without a word: for many at once.
pub fn truth(gate: &Gate, wallets: &BTreeSet<Address>, facts: &Facts, terms: Terms) -> Truth {
    Evaluation { wallets, facts, terms, is_told: false }.rule(&gate.rule, &Place::ROOT.name("rule")).truth
}

struct Evaluation<'a> {
    wallets: &'a BTreeSet<Address>,
    facts: &'a Facts,
    terms: Terms,
    /// Whether somebody reads why.
    is_told: bool,
}

/// What was found out about a clause.
struct Found {
    truth: Truth,
    readings: Vec<Reading>,
    /// What is missing, for people, unless it holds.
    missing: Option<String>,
}

impl Evaluation<'_> {
    fn rule(&self, rule: &Rule, at: &Place<'_>) -> Why {
        let why = if let Rule::Clause(clause) = rule {
            let Found { truth, readings, missing } = self.clause(clause, at);
            Why { truth, readings, missing, ..NOTHING }
        } else {
            self.joined(rule, at)
        };
        match self.is_told {
            true => Why { pointer: at.to_string(), sentence: rule.to_string(), ..why },
            false => why,
        }
    }

    fn joined(&self, rule: &Rule, at: &Place<'_>) -> Why {
        let mut parts = Vec::new();
        let each: Result<(), std::convert::Infallible> = rule.each_part(at, &mut |part, at| {
            parts.push(self.rule(part, at));
            Ok(())
        });
        let Ok(()) = each;
        let truths = || parts.iter().map(|part| part.truth);
        let (truth, needed) = match rule {
            Rule::AnyOf(_) => (Truth::any(truths()), Some(1)),
            Rule::AtLeast { n, .. } => (Truth::at_least(*n as usize, truths()), Some(*n as usize)),
            Rule::Not(_) => (Truth::all(truths().map(std::ops::Not::not)), None),
            Rule::AllOf(_) | Rule::Clause(_) => (Truth::all(truths()), Some(parts.len())),
        };
        let held = truths().filter(|truth| *truth == Truth::True).count();
        let missing = needed.and_then(|needed| self.missing(truth, || format!("{held} of {needed}")));
        Why { truth, missing, parts, ..NOTHING }
    }

    /// What is missing, for somebody who reads it.
    fn missing(&self, truth: Truth, words: impl FnOnce() -> String) -> Option<String> {
        (self.is_told && truth != Truth::True).then(words)
    }

    fn clause(&self, clause: &Clause, at: &Place<'_>) -> Found {
        let asked = asked_by(clause, self.wallets);
        let decimals = |decimals: Option<Decimals>| decimals.map_or(0, Decimals::get);
        match clause {
            Clause::Erc20(clause) => self.amounts(&asked, clause.units(at).ok(), decimals(clause.decimals), whole),
            Clause::Staked(clause) => self.amounts(&asked, clause.units(at).ok(), decimals(clause.decimals), whole),
            Clause::Erc20Sum(sum) => self.sum(&asked, sum, at),
            Clause::Erc721(clause) => {
                let needed = Some(U256::from(clause.at_least.0));
                let ids = clause.ids.as_deref();
                self.amounts(&asked, needed, 0, |answer| match ids {
                    None => whole(answer),
                    Some(ids) => among(answer, ids),
                })
            }
            Clause::Erc1155(clause) => self.amounts(&asked, Some(clause.at_least), 0, whole),
            Clause::Trait(clause) => {
                self.amounts(&asked, Some(U256::from(clause.at_least.0)), 0, |answer| with_trait(answer, clause))
            }
            Clause::AccountAge(age) => self.ages(&asked, age.days),
            Clause::WalletAge(age) => self.ages(&asked, age.days),
            Clause::Allowlist(_) => self.yes(&asked, ["on the list", "not on the list"], "no wallet is on the list"),
            Clause::Role(_) => self.yes(&asked, ["has the role", "does not have the role"], "the role is missing"),
            Clause::View(view) => self.view(&asked, view),
        }
    }

    /// What is known of a question. What is known and does not count is unknown.
    fn known(&self, asked: &Asked) -> Result<&Answer, UnknownReason> {
        let answer = self.facts.answers.get(&asked.question).ok_or(UnknownReason::NotAsked)?;
        let answer = answer.as_ref().map_err(|reason| *reason)?;
        let Some(chain) = asked.question.chain() else { return Ok(answer) };
        let at = self.facts.blocks.get(&chain).ok_or(UnknownReason::NotAsked)?;
        if at.depth < self.terms.depth {
            return Err(UnknownReason::NotSettled);
        }
        if self.age_ms(at.time_ms) > self.terms.age_ms_max {
            return Err(UnknownReason::Stale);
        }
        Ok(answer)
    }

    /// How long ago something was so; nothing of what a clock that is ahead says.
    fn age_ms(&self, time_ms: i64) -> i64 {
        self.terms.now_ms.saturating_sub(time_ms).max(0)
    }

    /// How that is told: the value, or why there is none, with the block and its age even so.
    fn reading(&self, asked: &Asked, value: Result<String, UnknownReason>) -> Reading {
        let at = asked.question.chain().and_then(|chain| self.facts.blocks.get(&chain));
        Reading {
            wallet: asked.wallet.map(|wallet| wallet.to_string()),
            contract: asked.token.map(|(contract, _)| contract.to_string()),
            unknown: value.as_ref().err().copied(),
            value: value.ok(),
            block: at.map(|at| at.block),
            at: at.map(|at| from_ms(at.time_ms)),
            age_s: at.map(|at| self.age_ms(at.time_ms).unsigned_abs() / 1_000),
        }
    }

    /// Whether what all of them have together is enough. Amounts are in base units of so many decimals.
    fn amounts(
        &self,
        asked: &[Asked],
        needed: Option<U256>,
        decimals: u8,
        amount: impl Fn(&Answer) -> Option<Bounds>,
    ) -> Found {
        self.added(asked, needed, decimals, |_| 0, amount)
    }

    /// The same of several tokens, in the unit of the one that has the most decimals.
    fn sum(&self, asked: &[Asked], sum: &Erc20Sum, at: &Place<'_>) -> Found {
        let decimals = sum.decimals().map_or(0, Decimals::get);
        let exponent = |asked: &Asked| {
            let own = asked.token.and_then(|(_, own)| own).map_or(decimals, Decimals::get);
            decimals.saturating_sub(own)
        };
        self.added(asked, sum.units(at).ok(), decimals, exponent, whole)
    }

    fn added(
        &self,
        asked: &[Asked],
        needed: Option<U256>,
        decimals: u8,
        exponent: impl Fn(&Asked) -> u8,
        amount: impl Fn(&Answer) -> Option<Bounds>,
    ) -> Found {
        let (mut least, mut most) = (Total::ZERO, Some(Total::ZERO));
        let mut readings = Vec::new();
        for asked in asked {
            let exponent = exponent(asked);
            let known = self.known(asked).and_then(|answer| amount(answer).ok_or(UnknownReason::Unreadable));
            match &known {
                Ok(Bounds { sure, possible }) => {
                    least = least.plus(*sure, exponent);
                    most = most.map(|most| most.plus(*sure, exponent).plus(*possible, exponent));
                }
                Err(_) => most = None,
            }
            if self.is_told {
                let own = decimals.saturating_sub(exponent);
                readings.push(self.reading(asked, known.map(|bounds| bounds.shown(own))));
            }
        }
        let Some(needed) = needed else {
            let words = || "the decimals of the token are not known; save the gate again".to_owned();
            return Found { truth: Truth::Unknown, readings, missing: self.missing(Truth::Unknown, words) };
        };
        let truth = match most {
            _ if least.reaches(needed) => Truth::True,
            Some(most) if !most.reaches(needed) => Truth::False,
            _ => Truth::Unknown,
        };
        let words = || format!("{} of {}", least.shown(decimals), Total::Exact(needed).shown(decimals));
        Found { truth, readings, missing: self.missing(truth, words) }
    }

    /// Whether one of them is so many days old.
    fn ages(&self, asked: &[Asked], days: Days) -> Found {
        let age_ms = |answer: &Answer| match answer {
            Answer::Since(since_ms) => Some(since_ms.map(|since_ms| self.age_ms(since_ms))),
            _ => None,
        };
        let holds = |answer: &Answer| age_ms(answer).map(|age_ms| age_ms.is_some_and(|age_ms| age_ms >= days.ms()));
        let show = |answer: &Answer| match age_ms(answer).flatten() {
            Some(age_ms) => in_days(age_ms / DAY_MS),
            None => "never".to_owned(),
        };
        let words = || {
            let ages = asked.iter().filter_map(|asked| age_ms(self.known(asked).ok()?)?);
            format!("{} of {}", ages.max().unwrap_or(0) / DAY_MS, in_days(days.0.into()))
        };
        self.any(asked, holds, show, words)
    }

    /// Whether one of them is so, with words for yes and no.
    fn yes(&self, asked: &[Asked], [yes, no]: [&str; 2], missing: &str) -> Found {
        let holds = |answer: &Answer| match answer {
            Answer::Is(is) => Some(*is),
            _ => None,
        };
        let show = |answer: &Answer| if holds(answer) == Some(true) { yes } else { no }.to_owned();
        self.any(asked, holds, show, || missing.to_owned())
    }

    fn view(&self, asked: &[Asked], view: &View) -> Found {
        let holds = |answer: &Answer| match answer {
            Answer::Word(word) => view.admits(*word),
            Answer::Reverted => Some(false),
            _ => None,
        };
        let show = |answer: &Answer| match answer {
            Answer::Word(word) => view.returns.show(*word),
            _ => "refuses the call".to_owned(),
        };
        let words = || match view.comparison() {
            Some((comparison, value)) => format!("no answer is {} {value}", comparison.words()),
            None => "the clause can't be read; save the gate again".to_owned(),
        };
        self.any(asked, holds, show, words)
    }

    /// Whether one of them is as it should be, by what an answer says about that, unless it is no answer.
    fn any(
        &self,
        asked: &[Asked],
        holds: impl Fn(&Answer) -> Option<bool>,
        show: impl Fn(&Answer) -> String,
        words: impl FnOnce() -> String,
    ) -> Found {
        let mut truths = Vec::with_capacity(asked.len());
        let mut readings = Vec::new();
        for asked in asked {
            let known = self.known(asked).and_then(|answer| match holds(answer) {
                Some(holds) => Ok((answer, holds)),
                None => Err(UnknownReason::Unreadable),
            });
            truths.push(known.map_or(Truth::Unknown, |(_, holds)| holds.into()));
            if self.is_told {
                readings.push(self.reading(asked, known.map(|(answer, _)| show(answer))));
            }
        }
        let truth = Truth::any(truths);
        Found { truth, readings, missing: self.missing(truth, words) }
    }
}

/// A rule of which nothing is told.
const NOTHING: Why = Why {
    truth: Truth::Unknown,
    pointer: String::new(),
    sentence: String::new(),
    readings: Vec::new(),
    missing: None,
    parts: Vec::new(),
};

/// How much of an amount counts for sure, and how much more may.
struct Bounds {
    sure: U256,
    possible: U256,
}

impl Bounds {
    const fn exactly(sure: U256) -> Self {
        Self { sure, possible: U256::ZERO }
    }

    /// For people, of a token with so many decimals.
    fn shown(&self, decimals: u8) -> String {
        let sure = Total::Exact(self.sure).shown(decimals);
        if self.possible.is_zero() {
            return sure.to_string();
        }
        format!("{sure}, and up to {} more", Total::Exact(self.possible).shown(decimals))
    }
}

fn whole(answer: &Answer) -> Option<Bounds> {
    match answer {
        Answer::Amount(amount) => Some(Bounds::exactly(*amount)),
        _ => None,
    }
}

/// How many of the tokens are among these.
fn among(answer: &Answer, ids: &[TokenIds]) -> Option<Bounds> {
    let Answer::Tokens(tokens) = answer else { return None };
    let among = tokens.iter().filter(|token| ids.iter().any(|ids| ids.contains(**token))).count();
    Some(Bounds::exactly(U256::from(among)))
}

/// How many of the tokens have a trait. Of a token whose description is not known, or not all of it, nobody knows.
fn with_trait(answer: &Answer, clause: &Trait) -> Option<Bounds> {
    let Answer::Described(tokens) = answer else { return None };
    let mut bounds = Bounds::exactly(U256::ZERO);
    for DescribedToken { amount, traits, are_all } in tokens {
        let has = traits.iter().any(|(name, value)| *name == clause.property.0 && clause.admits(value));
        let counted = if has { &mut bounds.sure } else { &mut bounds.possible };
        if has || !are_all {
            *counted = counted.saturating_add(*amount);
        }
    }
    Some(bounds)
}

fn in_days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}
