//! Three values: what is true, what is false, and what is not known. Kleene's strong logic of them ([Kleene 1952, § 64]):
//! a rule has a value as soon as nothing that is unknown could change it.
//!
//! [Kleene 1952, § 64]: https://plato.stanford.edu/entries/logic-manyvalued/#StroWeakKleeLogi

use crate::kinds::kinds;

kinds! {
    /// Whether something holds, as far as is known.
    Truth {
        /// It does not hold.
        False = "false",
        /// It is not known whether it holds.
        Unknown = "unknown",
        /// It holds.
        True = "true",
    }
}

impl From<bool> for Truth {
    fn from(known: bool) -> Self {
        if known { Self::True } else { Self::False }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl Truth {
    /// Whether all of them hold.
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::True;
        for part in parts {
            match part {
                Self::False => return Self::False,
                Self::Unknown => all = Self::Unknown,
                Self::True => {}
            }
        }
        all
    }

    /// Whether any of them holds.
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        !Self::all(parts.into_iter().map(std::ops::Not::not))
    }

    /// Whether so many of them hold.
    pub fn at_least(n: usize, parts: impl IntoIterator<Item = Self>) -> Self {
        let (mut hold, mut may_hold) = (0, 0);
        for part in parts {
            hold += usize::from(part == Self::True);
            may_hold += usize::from(part != Self::False);
        }
        match (hold >= n, may_hold >= n) {
            (true, _) => Self::True,
            (false, true) => Self::Unknown,
            (false, false) => Self::False,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_kleenes() {
        use Truth::{False, True, Unknown};
        for (one, other, both, either) in [
            (True, True, True, True),
            (True, Unknown, Unknown, True),
            (True, False, False, True),
            (Unknown, Unknown, Unknown, Unknown),
            (Unknown, False, False, Unknown),
            (False, False, False, False),
        ] {
            for pair in [[one, other], [other, one]] {
                assert_eq!((Truth::all(pair), Truth::any(pair)), (both, either), "{pair:?}");
            }
        }
        assert_eq!(Truth::ALL.map(|truth| !truth), [True, Unknown, False]);
        assert_eq!((Truth::all([]), Truth::any([])), (True, False));
    }

    #[test]
    fn so_many_are_counted_with_what_may_hold() {
        use Truth::{False, True, Unknown};
        let parts = [True, Unknown, False, True];
        assert_eq!([0, 1, 2, 3, 4].map(|n| Truth::at_least(n, parts)), [True, True, True, Unknown, False]);
    }

    #[test]
    fn a_truth_is_the_same_word_in_json() {
        for truth in Truth::ALL {
            assert_eq!(serde_json::to_value(truth).unwrap(), truth.as_str());
        }
    }
}
