//! How the database finds what the statements in the sources ask for: by keys and by indexes, not by reading tables.
//!
//! SurrealDB 3.3 reads a range of keys upward, and to its end where it is written as `table:[…]..[…]`, whatever the limit; written
//! as `type::record('table', […]..[…])` it reads as many rows as the limit says. `ORDER BY id DESC` of a range sorts all of it in
//! the one form, and the wrong end of it in the other.

use std::collections::BTreeSet;

use nepto_kit::db::{Db, DbError};
use surrealdb::types::{SurrealValue, Value, Variables};

use super::code_in;
use crate::testing::database;

/// What reads a whole table, and why that is little.
const SMALL: [(&str, &str); 1] = [("cursor", "a row for each pipeline of a chain")];

/// Statements in the code of a folder: what stands in text literals from `SELECT` on, up to the end of the text, of the statement,
/// or of the parentheses that it stands in.
fn selects_of(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, code) in code_in(folder) {
        let code: String =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect();
        for (start, _) in code.match_indices("SELECT ") {
            let mut depth = 0;
            let rest = &code[start..];
            let ends = |(_, c): &(usize, char)| {
                depth += match c {
                    '(' | '{' => 1,
                    ')' | '}' => -1,
                    _ => 0,
                };
                depth < 0 || matches!(c, '"' | ';')
            };
            let end = rest.char_indices().find(ends).map_or(rest.len(), |(at, _)| at);
            found.insert(rest[..end].split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    found
}

/// The table that a statement reads as such, not one of its keys, nor a range of them.
fn table_of(select: &str) -> Option<&str> {
    let (_, rest) = select.split_once(" FROM ")?;
    let word = rest.split([' ', ',']).next()?;
    word.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some(word)
}

async fn plan(db: &Db, select: &str) -> Result<String, DbError> {
    let mut variables = Variables::new();
    for name in select.split('$').skip(1) {
        let name: String = name.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        variables.insert(name, 1_i64.into_value());
    }
    let plan: Value = db.run(&format!("EXPLAIN {select}"), variables).await?;
    Ok(format!("{plan:?}"))
}

#[tokio::test]
async fn whatever_is_asked_of_a_table_is_found_without_reading_it() {
    let mut seen = 0;
    for domain in crate::all() {
        let db = database(domain).await;
        for select in selects_of(&format!("src/{}", domain.name)) {
            let Some(table) = table_of(&select) else { continue };
            let asks_for_all = !select.contains(" WHERE ") && !select.contains(" ORDER BY ");
            if SMALL.iter().any(|(small, _)| *small == table) || asks_for_all {
                continue;
            }
            let plan = plan(&db, &select).await.unwrap();
            assert!(plan.contains("IndexScan") && !plan.contains("TableScan"), "{}: {select}\n{plan}", domain.name);
            seen += 1;
        }
    }
    assert!(seen > 8, "the test finds them: {seen}");
}

#[test]
fn ranges_that_are_limited_are_written_so_that_the_limit_counts() {
    let mut seen = 0;
    for folder in ["src", "../kit/src"] {
        for select in selects_of(folder) {
            let is_literal = select.split_once("]..").is_some() && !select.contains("type::record");
            // whatever is in another order is read to its end anyway
            let is_limited = select.contains(" LIMIT ") && !select.contains(" ORDER BY ");
            assert!(!(is_literal && is_limited), "it is read to its end: {select}");
            assert!(!select.contains("ORDER BY id DESC"), "all of it is read, or its wrong end: {select}");
            seen += usize::from(select.contains("type::record") && select.contains(" LIMIT "));
        }
    }
    assert!(seen > 10, "the test finds them: {seen}");
}

/// How many rows the steps of a plan yield, the most of them.
async fn rows_read(db: &Db, select: &str) -> u64 {
    let plan: String = db.run(&format!("EXPLAIN ANALYZE {select}"), Variables::new()).await.unwrap();
    let rows = plan.split("rows: ").skip(1).filter_map(|rest| rest.split([',', '}', '\n']).next()?.trim().parse().ok());
    rows.max().unwrap_or_else(|| panic!("{plan}"))
}

#[tokio::test]
async fn a_limit_counts_in_one_form_and_not_in_the_other() {
    let db = database(crate::example::domain()).await;
    let insert = "INSERT INTO thing (array::range(0..1000).map(|$n| { id: ['a', $n] })) RETURN NONE";
    db.execute("DEFINE TABLE thing SCHEMALESS", Variables::new()).await.unwrap();
    db.execute(insert, Variables::new()).await.unwrap();
    let record = "SELECT * FROM type::record('thing', ['a', 0]..['a', []]) LIMIT 3";
    assert_eq!(rows_read(&db, record).await, 3);
    // if this fails, the rule and its test can go
    assert_eq!(rows_read(&db, "SELECT * FROM thing:['a', 0]..['a', []] LIMIT 3").await, 1_000);
}
