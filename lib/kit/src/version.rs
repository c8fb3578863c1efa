//! The one version of everything here, `workspace.package.version`, in a form that can be compared.

use std::fmt;

use surrealdb::types::SurrealValue;

/// Major, minor, patch. What may follow them (`-rc.1`) does not count: a candidate opens what its release will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [i64; 3]);

impl Version {
    /// Of this program.
    pub const OWN: Self = Self([
        number(env!("CARGO_PKG_VERSION_MAJOR")),
        number(env!("CARGO_PKG_VERSION_MINOR")),
        number(env!("CARGO_PKG_VERSION_PATCH")),
    ]);

    /// As the database has it: an array, which SurrealQL compares number by number.
    pub fn value(self) -> impl SurrealValue {
        self.0.to_vec()
    }

    /// From the database.
    pub fn from_value(parts: &[i64]) -> Option<Self> {
        parts.try_into().ok().map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// What cargo writes in decimal digits alone.
const fn number(digits: &str) -> i64 {
    let (bytes, mut at, mut number) = (digits.as_bytes(), 0, 0);
    while at < bytes.len() {
        number = number * 10 + (bytes[at] - b'0') as i64;
        at += 1;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_cargo_and_compare_by_number() {
        let shown = env!("CARGO_PKG_VERSION").split('-').next();
        assert_eq!(Some(Version::OWN.to_string().as_str()), shown);
        assert_eq!(number("1204"), 1204);
        assert!(Version([0, 10, 0]) > Version([0, 9, 9]));
    }
}
