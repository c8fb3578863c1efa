//! Whether bytes that were written by one protobuf file are read by another one as what they were.

use std::collections::BTreeMap;

/// The fields of a file: message or enumeration and number, and what stands there: a type and its label, or a word.
type Fields = BTreeMap<(String, u64), String>;

/// What of `before` is not so `now`, in words. A number that is `reserved` now may be missing: nobody gets it again.
pub fn broken(before: &str, now: &str) -> Vec<String> {
    let (now, reserved) = fields(now);
    let mut problems = Vec::new();
    for (place, was) in fields(before).0 {
        let (message, number) = &place;
        match now.get(&place) {
            Some(is) if *is == was => {}
            Some(is) => problems.push(format!("{message}, {number}: was `{was}`, and is `{is}`")),
            None if reserved.contains_key(&place) => {}
            None => problems.push(format!("{message}, {number}: `{was}` is gone, and its number is not reserved")),
        }
    }
    problems
}

/// The fields, and the numbers that no field may have.
fn fields(file: &str) -> (Fields, Fields) {
    let code: String =
        file.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let spaced = code.replace('{', " { ").replace('}', " } ").replace(';', " ; ").replace('=', " = ");
    let (mut open, mut words): (Vec<String>, Vec<&str>) = Default::default();
    let (mut found, mut reserved) = (Fields::new(), Fields::new());
    for word in spaced.split_whitespace() {
        match word {
            // what is within `oneof` belongs to the message around it
            "{" => open.push(match words.as_slice() {
                ["message" | "enum", name] => {
                    format!("{}{name}", open.last().map_or(String::new(), |outer| format!("{outer}.")))
                }
                _ => open.last().cloned().unwrap_or_default(),
            }),
            "}" => drop(open.pop()),
            ";" => {
                let place = |number: &str| Some((open.last()?.clone(), number.trim_matches(',').parse().ok()?));
                match words.as_slice() {
                    ["reserved", numbers @ ..] => {
                        reserved.extend(numbers.iter().filter_map(|number| Some((place(number)?, String::new()))));
                    }
                    // a word of an enumeration: its name is nothing that is written
                    [_, "=", number] => found.extend(place(number).map(|place| (place, "a word".to_owned()))),
                    [kind @ .., _, "=", number] => found.extend(place(number).map(|place| (place, kind.join(" ")))),
                    _ => {}
                }
            }
            word => {
                words.push(word);
                continue;
            }
        }
        words.clear();
    }
    (found, reserved)
}

#[test]
fn another_type_and_a_missing_number_are_found() {
    let before = "message A { string a = 1; oneof k { B b = 2; } // c\n message I { bytes x = 1; } }\nenum E { NO = 0; YES = 1; }";
    assert_eq!(fields(before).0.len(), 5);
    assert_eq!(broken(before, before), Vec::<String>::new());
    let now = "message A { string renamed = 1; C b = 2; message I { reserved 1, 7; } }\nenum E { NONE = 0; }";
    let problems = broken(before, now);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("A, 2: was `B`, and is `C`"), "{problems:?}");
    assert!(problems[1].contains("E, 1:"), "{problems:?}");
}
