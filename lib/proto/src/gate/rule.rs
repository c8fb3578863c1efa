//! The rules of an expression: what joins clauses, and the bounds of all of it.

use serde_json::{Map, Value, json};

use super::clause::{self, Clause};
use super::error::{GateCode, GateError, Place};
use super::field::{described, wrong_type};
use super::{CLAUSES_MAX, DEPTH_MAX, IDS_MAX};

/// What joins rules, by name.
pub(super) const WORDS: [&str; 4] = ["all_of", "any_of", "not", "at_least"];

/// A clause, or rules that are joined. An object with one field, its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// All of them hold.
    AllOf(Vec<Rule>),
    /// One of them holds, or more.
    AnyOf(Vec<Rule>),
    /// It does not hold.
    Not(Box<Rule>),
    /// So many of them hold, or more.
    AtLeast {
        /// How many: at least 1, at most all.
        n: u32,
        /// Of these.
        of: Vec<Rule>,
    },
    /// What is asked about.
    Clause(Clause),
}

/// How much of what is bounded was read so far.
#[derive(Default)]
struct Read {
    clauses: usize,
    ids: usize,
}

impl Rule {
    /// Reads it, with all that is in it.
    pub(super) fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        Self::read_below(value, at, 1, &mut Read::default())
    }

    fn read_below(value: &Value, at: &Place<'_>, depth: usize, read: &mut Read) -> Result<Self, GateError> {
        if depth > DEPTH_MAX {
            let detail = format!("rules are nested at most {DEPTH_MAX} deep; make it flatter");
            return Err(at.error(GateCode::TooDeep, detail));
        }
        let object = value.as_object().ok_or_else(|| wrong_type(at, "an object with the name of a rule"))?;
        let mut fields = object.iter();
        let (Some((name, body)), None) = (fields.next(), fields.next()) else {
            let detail = "a rule is an object with exactly one field, its name, as {\"all_of\": […]}";
            return Err(at.error(GateCode::NotOneRule, detail));
        };
        let at = &at.name(name);
        match name.as_str() {
            "all_of" => Ok(Self::AllOf(Self::list(body, at, depth, read)?)),
            "any_of" => Ok(Self::AnyOf(Self::list(body, at, depth, read)?)),
            "not" => Ok(Self::Not(Box::new(Self::read_below(body, at, depth + 1, read)?))),
            "at_least" => Self::read_at_least(body, at, depth, read),
            name => {
                read.clauses += 1;
                if read.clauses > CLAUSES_MAX {
                    let detail = format!("a gate has at most {CLAUSES_MAX} clauses; leave some out");
                    return Err(at.error(GateCode::TooManyClauses, detail));
                }
                let clause = Clause::read(name, body, at)?;
                if let Clause::Erc721(tokens) = &clause {
                    read.ids += tokens.ids.as_ref().map_or(0, Vec::len);
                }
                if read.ids > IDS_MAX {
                    let detail = format!("a gate has at most {IDS_MAX} ids and ranges; join those that touch");
                    return Err(at.name("ids").error(GateCode::TooManyIds, detail));
                }
                Ok(Self::Clause(clause))
            }
        }
    }

    fn list(value: &Value, at: &Place<'_>, depth: usize, read: &mut Read) -> Result<Vec<Self>, GateError> {
        let rules = value.as_array().ok_or_else(|| wrong_type(at, "a list of rules"))?;
        match rules.len() {
            0 => Err(at.error(GateCode::ListEmpty, "this list is empty; it needs a rule")),
            many if many > CLAUSES_MAX => {
                let detail = format!("this list has {many} rules, of at most {CLAUSES_MAX}");
                Err(at.error(GateCode::ListTooLong, detail))
            }
            _ => {
                let rules = rules.iter().enumerate();
                rules.map(|(index, rule)| Self::read_below(rule, &at.index(index), depth + 1, read)).collect()
            }
        }
    }

    fn read_at_least(value: &Value, at: &Place<'_>, depth: usize, read: &mut Read) -> Result<Self, GateError> {
        let fields = super::field::Fields::of(value, at, &["n", "of"])?;
        let n_at = at.name("n");
        let n = super::field::number(fields.get("n")?, &n_at, 1..=CLAUSES_MAX as u32)?;
        let of = Self::list(fields.get("of")?, &at.name("of"), depth, read)?;
        if n as usize > of.len() {
            let detail = format!("{n} of {} rules can't hold; ask for fewer, or add rules", of.len());
            return Err(n_at.error(GateCode::OutOfRange, detail));
        }
        Ok(Self::AtLeast { n, of })
    }

    /// In its one form.
    pub(super) fn write(&self) -> Value {
        let list = |rules: &[Self]| Value::from(rules.iter().map(Self::write).collect::<Vec<_>>());
        let (name, body) = match self {
            Self::AllOf(rules) => ("all_of", list(rules)),
            Self::AnyOf(rules) => ("any_of", list(rules)),
            Self::Not(rule) => ("not", rule.write()),
            Self::AtLeast { n, of } => ("at_least", json!({ "n": n, "of": list(of) })),
            Self::Clause(clause) => (clause.name(), clause.write().unwrap_or_default()),
        };
        Map::from_iter([(name.to_owned(), body)]).into()
    }

    /// The schemas that it can be of: each an object with one name.
    pub(super) fn schemas() -> Vec<Value> {
        let rule = json!({ "$ref": "#/$defs/rule" });
        let list = json!({ "type": "array", "items": rule, "minItems": 1, "maxItems": CLAUSES_MAX });
        let at_least = json!({
            "type": "object",
            "properties": {
                "n": described(json!({ "type": "integer", "minimum": 1, "maximum": CLAUSES_MAX }), "At most all."),
                "of": list,
            },
            "required": ["n", "of"],
            "additionalProperties": false,
        });
        let joined = [
            ("all_of", described(list.clone(), "All of them hold.")),
            ("any_of", described(list, "One of them holds, or more.")),
            ("not", described(rule, "It does not hold.")),
            ("at_least", described(at_least, "So many of them hold, or more.")),
        ];
        let clauses = Clause::schemas();
        joined.into_iter().chain(clauses).map(|(name, body)| clause::named(name, body)).collect()
    }

    /// The rules that it joins, in order.
    pub fn parts(&self) -> &[Self] {
        match self {
            Self::AllOf(rules) | Self::AnyOf(rules) | Self::AtLeast { of: rules, .. } => rules,
            Self::Not(rule) => std::slice::from_ref(rule),
            Self::Clause(_) => &[],
        }
    }

    /// Does something with each clause and its place, in the order of the expression, until something is wrong.
    pub fn each_clause<E>(
        &self,
        at: &Place<'_>,
        visit: &mut impl FnMut(&Clause, &Place<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Self::Clause(clause) = self {
            return visit(clause, &at.name(clause.name()));
        }
        self.each_part(at, &mut |part, at| part.each_clause(at, &mut *visit))
    }

    /// Does something with each rule that it joins and its place, in order, until something is wrong.
    pub fn each_part<E>(
        &self,
        at: &Place<'_>,
        visit: &mut dyn FnMut(&Self, &Place<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (name, is_list) = match self {
            Self::AllOf(_) => ("all_of", true),
            Self::AnyOf(_) => ("any_of", true),
            Self::AtLeast { .. } => ("at_least", true),
            Self::Not(_) => ("not", false),
            Self::Clause(_) => return Ok(()),
        };
        let at = at.name(name);
        if !is_list {
            return self.parts().iter().try_for_each(|part| visit(part, &at));
        }
        let of = at.name("of");
        let list = if matches!(self, Self::AtLeast { .. }) { &of } else { &at };
        self.parts().iter().enumerate().try_for_each(|(index, part)| visit(part, &list.index(index)))
    }

    /// Each of its clauses, to be changed.
    pub(super) fn clauses_mut(&mut self) -> Vec<&mut Clause> {
        match self {
            Self::AllOf(rules) | Self::AnyOf(rules) | Self::AtLeast { of: rules, .. } => {
                rules.iter_mut().flat_map(Self::clauses_mut).collect()
            }
            Self::Not(rule) => rule.clauses_mut(),
            Self::Clause(clause) => vec![clause],
        }
    }

    /// How deep it is nested; a clause alone is 1.
    pub fn depth(&self) -> usize {
        1 + self.parts().iter().map(Self::depth).max().unwrap_or(0)
    }
}
