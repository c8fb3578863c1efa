//! Reading a range of keys from its upper end, which the database can't: `ORDER BY id DESC LIMIT 1` of a range reads all of it.
//!
//! The range is read in parts. The first is all of it, up to a bound: most are that short. If it is not, parts follow from the
//! upper end, each twice as wide as the one before, however empty they are; and of a part in which there is too much, the upper
//! half. So what is read follows what is asked for, and a range of any length takes some dozens of queries at the most.

/// How wide the first part is at the upper end.
const FIRST_WIDTH: u64 = if cfg!(test) { 2 } else { 64 };
/// Rows of a single number: of one block, or one change. There are never so many of one holder.
const ROWS_OF_ONE: usize = 100_000;

/// How far down a range was read. Its numbers are blocks, or changes of a pipeline.
#[derive(Debug, Clone)]
pub struct Descent {
    /// Everything at and above this was read.
    reached: u64,
    /// The next part is so wide.
    width: u64,
    /// From here up to `reached` there are more rows than are looked for.
    dense: Option<u64>,
    rows_max: usize,
}

/// What to read next: the rows of these numbers, and one more than `rows_max` to see that there are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub from: u64,
    /// The first that does not belong to it.
    pub to: u64,
    pub rows_max: usize,
}

impl Part {
    /// For the statement's `LIMIT`.
    pub const fn limit(&self) -> usize {
        self.rows_max + 1
    }
}

impl Descent {
    /// Begins below a number, to look for so many rows.
    pub const fn below(top: u64, wanted: usize) -> Self {
        // parts of the first width are read whole where there is a row for each number
        Self { reached: top, width: u64::MAX, dense: None, rows_max: wanted + FIRST_WIDTH as usize }
    }

    /// The next part; `None` if all was read.
    pub fn next(&self) -> Option<Part> {
        let to = self.reached;
        let width = self.dense.map_or(self.width, |from| ((to - from) / 2).max(1));
        let from = to.saturating_sub(width);
        let rows_max = if to - from == 1 { ROWS_OF_ONE } else { self.rows_max };
        (from < to).then_some(Part { from, to, rows_max })
    }

    /// So many rows of a part were found. Whether they are all of it; if not, they are the lowest, which nobody looks for, and the
    /// next part is a narrower one.
    pub fn found(&mut self, Part { from, to, rows_max }: Part, rows: usize) -> bool {
        if rows > rows_max && to - from > 1 {
            match self.width {
                u64::MAX => self.width = FIRST_WIDTH,
                _ => self.dense = Some(from),
            }
            return false;
        }
        self.reached = from;
        self.dense = self.dense.filter(|dense| *dense < from);
        if self.dense.is_none() {
            self.width = self.width.saturating_mul(2);
        }
        true
    }

    /// Everything at and above this was read; 0 if there is nothing below.
    pub const fn reached(&self) -> u64 {
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Through the powers of two twice: down over what is empty, and down into what is dense.
    const QUERIES_MAX: usize = 2 * 64;

    /// What a table with rows of these numbers, in their order, tells.
    fn read(rows: &[u64], Part { from, to, rows_max }: Part) -> &[u64] {
        let start = rows.partition_point(|row| *row < from);
        let end = rows.partition_point(|row| *row < to);
        &rows[start..end.min(start + rows_max + 1)]
    }

    /// The newest rows below a number, with the queries that it took.
    fn newest(rows: &[u64], below: u64, wanted: usize) -> (Vec<u64>, usize) {
        let (mut descent, mut found, mut queries) = (Descent::below(below, wanted), Vec::new(), 0);
        while let Some(part) = descent.next() {
            queries += 1;
            let some = read(rows, part);
            if !descent.found(part, some.len()) {
                continue;
            }
            found.extend(some);
            if found.len() >= wanted {
                break;
            }
        }
        found.sort_unstable_by_key(|row| std::cmp::Reverse(*row));
        found.truncate(wanted);
        (found, queries)
    }

    proptest! {
        /// Whatever lies where: the newest are found, in a number of queries that is bounded.
        #[test]
        fn the_newest_are_found_wherever_they_are(
            clusters in prop::collection::vec((0_u32..40, 0_u64..1_000, 1_usize..300, 1_u64..4), 0..8),
            below in prop_oneof![Just(u64::MAX), 0_u64..1 << 40, 0_u64..5_000],
            wanted in 1_usize..80,
        ) {
            let cluster = |(power, offset, count, apart): (u32, u64, usize, u64)| {
                (0..count as u64).map(move |number| (1 << power) + offset + number * apart / 2)
            };
            let mut rows: Vec<u64> = clusters.into_iter().flat_map(cluster).collect();
            rows.sort_unstable();
            let (found, queries) = newest(&rows, below, wanted);
            let expected: Vec<u64> = rows.iter().rev().filter(|row| **row < below).take(wanted).copied().collect();
            prop_assert_eq!(found, expected);
            prop_assert!(queries <= QUERIES_MAX, "{} queries", queries);
        }
    }

    #[test]
    fn a_short_range_is_one_query_and_a_busy_one_some() {
        let short: Vec<u64> = (0..20).map(|number| number * 1_000_000).collect();
        assert_eq!(newest(&short, u64::MAX, 64).1, 1);
        let busy: Vec<u64> = (0..100_000).collect();
        let (found, queries) = newest(&busy, 100_000, 50);
        assert_eq!((found[0], found[49], found.len()), (99_999, 99_950, 50));
        assert_eq!(queries, 6, "all of it, and parts of 2, 4, 8, 16 and 32");
        // nothing happened for a long time
        let (found, queries) = newest(&busy, 1 << 40, 1);
        assert_eq!(found, [99_999]);
        assert!(queries <= 90, "{queries}");
    }
}
