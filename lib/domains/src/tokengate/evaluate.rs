//! Whether somebody passes a gate, as far as is known, and why. Pure: facts in, a tree of reasons out.
//!
//! What must hold: what is unknown is unknown, and never nothing; more knowledge never turns a yes into a no or back; a clause
//! looks at each of its questions once.

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

/// Evaluates a gate of somebody who has these wallets.
pub fn evaluate(gate: &Gate, wallets: &BTreeSet<Address>, facts: &Facts, terms: Terms) -> Why {
    Evaluation { wallets, facts, terms }.rule(&gate.rule, &Place::ROOT.name("rule"))
}

struct Evaluation<'a> {
    wallets: &'a BTreeSet<Address>,
    facts: &'a Facts,
    terms: Terms,
}

/// What was found out about a clause.
struct Found {
    truth: Truth,
    readings: Vec<Reading>,
    /// What is missing, for people, unless it holds.
    missing: String,
}

impl Evaluation<'_> {
    fn rule(&self, rule: &Rule, at: &Place<'_>) -> Why {
        let (pointer, sentence) = (at.to_string(), rule.to_string());
        if let Rule::Clause(clause) = rule {
            let Found { truth, readings, missing } = self.clause(clause, at);
            let missing = (truth != Truth::True).then_some(missing);
            return Why { truth, pointer, sentence, readings, missing, parts: Vec::new() };
        }
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
        let missing = needed.filter(|_| truth != Truth::True).map(|needed| format!("{held} of {needed}"));
        Why { truth, pointer, sentence, readings: Vec::new(), missing, parts }
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
            Clause::Allowlist(_) => self.any(&asked, "no wallet is on the list", |answer| match answer {
                Answer::Is(is) => Some((*is, if *is { "on the list" } else { "not on the list" }.to_owned())),
                _ => None,
            }),
            Clause::Role(_) => self.any(&asked, "the role is missing", |answer| match answer {
                Answer::Is(is) => Some((*is, if *is { "has the role" } else { "does not have the role" }.to_owned())),
                _ => None,
            }),
            Clause::View(view) => self.view(&asked, view),
        }
    }

    /// What is known of a question, and how that is told. What is known and does not count is unknown.
    fn look(&self, asked: &Asked) -> (Result<&Answer, UnknownReason>, Reading) {
        let mut reading = Reading {
            wallet: asked.wallet.map(|wallet| wallet.to_string()),
            contract: asked.token.map(|(contract, _)| contract.to_string()),
            value: None,
            unknown: None,
            block: None,
            at: None,
            age_s: None,
        };
        let mut known = match self.facts.answers.get(&asked.question) {
            None => Err(UnknownReason::NotAsked),
            Some(answer) => answer.as_ref().map_err(|reason| *reason),
        };
        if let Some(chain) = asked.question.chain() {
            match self.facts.blocks.get(&chain) {
                None => known = known.and(Err(UnknownReason::NotAsked)),
                Some(at) => {
                    let age_ms = self.terms.now_ms.saturating_sub(at.time_ms).max(0);
                    reading.block = Some(at.block);
                    reading.at = Some(from_ms(at.time_ms));
                    reading.age_s = Some(age_ms.unsigned_abs() / 1_000);
                    if at.depth < self.terms.depth {
                        known = known.and(Err(UnknownReason::NotSettled));
                    } else if age_ms > self.terms.age_ms_max {
                        known = known.and(Err(UnknownReason::Stale));
                    }
                }
            }
        }
        reading.unknown = known.err();
        (known, reading)
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
        let mut readings = Vec::with_capacity(asked.len());
        for asked in asked {
            let (known, mut reading) = self.look(asked);
            let exponent = exponent(asked);
            match known.and_then(|answer| amount(answer).ok_or(UnknownReason::Unreadable)) {
                Ok(Bounds { sure, possible }) => {
                    least = least.plus(sure, exponent);
                    most = most.map(|most| most.plus(sure, exponent).plus(possible, exponent));
                    let own = decimals.saturating_sub(exponent);
                    let mut value = Total::Exact(sure).shown(own).to_string();
                    if !possible.is_zero() {
                        value = format!("{value}, and up to {} more", Total::Exact(possible).shown(own));
                    }
                    reading.value = Some(value);
                }
                Err(reason) => {
                    reading.unknown = Some(reason);
                    most = None;
                }
            }
            readings.push(reading);
        }
        let Some(needed) = needed else {
            let missing = "the decimals of the token are not known; save the gate again".to_owned();
            return Found { truth: Truth::Unknown, readings, missing };
        };
        let truth = match most {
            _ if least.reaches(needed) => Truth::True,
            Some(most) if !most.reaches(needed) => Truth::False,
            _ => Truth::Unknown,
        };
        let missing = format!("{} of {}", least.shown(decimals), Total::Exact(needed).shown(decimals));
        Found { truth, readings, missing }
    }

    /// Whether one of them is so many days old.
    fn ages(&self, asked: &[Asked], days: Days) -> Found {
        let mut oldest = 0;
        let mut found = self.any(asked, "", |answer| {
            let Answer::Since(since) = answer else { return None };
            let Some(since_ms) = since else { return Some((false, "never".to_owned())) };
            let age_ms = self.terms.now_ms.saturating_sub(*since_ms).max(0);
            oldest = oldest.max(age_ms / DAY_MS);
            Some((age_ms >= days.ms(), in_days(age_ms / DAY_MS)))
        });
        found.missing = format!("{oldest} of {}", in_days(days.0.into()));
        found
    }

    fn view(&self, asked: &[Asked], view: &View) -> Found {
        let missing = match view.comparison() {
            Some((comparison, value)) => format!("no answer is {} {value}", comparison.words()),
            None => "the clause can't be read; save the gate again".to_owned(),
        };
        self.any(asked, &missing, |answer| match answer {
            Answer::Word(word) => Some((view.admits(*word)?, view.returns.show(*word))),
            Answer::Reverted => Some((false, "refuses the call".to_owned())),
            _ => None,
        })
    }

    /// Whether one of them is as it should be: what an answer says about that, with words, unless it is no answer.
    fn any(&self, asked: &[Asked], missing: &str, mut holds: impl FnMut(&Answer) -> Option<(bool, String)>) -> Found {
        let mut truths = Vec::with_capacity(asked.len());
        let mut readings = Vec::with_capacity(asked.len());
        for asked in asked {
            let (known, mut reading) = self.look(asked);
            truths.push(match known.and_then(|answer| holds(answer).ok_or(UnknownReason::Unreadable)) {
                Ok((holds, value)) => {
                    reading.value = Some(value);
                    Truth::from(holds)
                }
                Err(reason) => {
                    reading.unknown = Some(reason);
                    Truth::Unknown
                }
            });
            readings.push(reading);
        }
        Found { truth: Truth::any(truths), readings, missing: missing.to_owned() }
    }
}

/// How much of an amount counts for sure, and how much more may.
struct Bounds {
    sure: U256,
    possible: U256,
}

impl Bounds {
    const fn exactly(sure: U256) -> Self {
        Self { sure, possible: U256::ZERO }
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
