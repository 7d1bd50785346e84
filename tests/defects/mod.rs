//! The list of seeded defects: reads it, and puts them into the sources.

use std::fs;
use std::path::Path;

/// The files of the list, in the order of the layers.
const LISTS: [&str; 5] = ["wire", "proto", "session", "fs", "io"];
/// What stands around the code that a defect replaces; the rest only says where.
const MARKS: [char; 2] = ['«', '»'];

/// One check, barrier, budget, order or wake-up that is taken away on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defect {
    pub(crate) name: String,
    /// From the root of the repository.
    pub(crate) file: String,
    /// What no longer holds.
    pub(crate) lost: String,
    /// The code with what goes between marks, as it stands in the file but for white space.
    pub(crate) code: String,
    /// What stands there instead; may be empty where a statement goes.
    pub(crate) here: String,
    /// The tests that fail by it, as `module::function`.
    pub(crate) tests: Vec<String>,
}

impl Defect {
    /// Where in `text` the code that goes begins and ends.
    ///
    /// # Errors
    ///
    /// If the code does not occur exactly once, or has not one pair of marks.
    pub(crate) fn find(&self, text: &str) -> Result<(usize, usize), String> {
        let fail = |what: &str| Err(format!("{}: its code {what} in {}", self.name, self.file));
        let parts: Vec<&str> = self.code.split(MARKS).collect();
        let [before, goes, after] = parts[..] else { return fail("has not one pair of marks") };
        let (dense, places) = without_space(text);
        let [before, goes, after] = [before, goes, after].map(|part| without_space(part).0);
        if goes.is_empty() {
            return fail("has nothing between its marks");
        }
        let code = [&*before, &goes, &after].concat();
        let mut found = dense.match_indices(&code);
        match (found.next(), found.next()) {
            (None, _) => fail("does not occur"),
            (_, Some(_)) => fail("occurs more than once"),
            (Some((at, _)), None) => {
                let first = at + before.len();
                let last = first + goes.len() - 1;
                Ok((places[first], places[last] + 1))
            }
        }
    }

    /// What stands in the place of `old` so that the defect is there when `condition` holds.
    pub(crate) fn switched(&self, old: &str, condition: &str) -> String {
        let both = format!("if {condition} {{ {} }} else {{ {old} }}", self.here);
        if old.ends_with([';', '}']) { both } else { format!("({both})") }
    }
}

/// All of `text` but white space, and the place of each of its bytes.
fn without_space(text: &str) -> (String, Vec<usize>) {
    let mut dense = String::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len());
    for (place, character) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
        dense.push(character);
        places.extend(place..place + character.len_utf8());
    }
    (dense, places)
}

/// All defects, in the order of the lists.
///
/// # Errors
///
/// If a list cannot be read, or does not say what it has to.
pub(crate) fn all(root: &Path) -> Result<Vec<Defect>, String> {
    let mut defects: Vec<Defect> = Vec::new();
    for list in LISTS {
        let path = root.join("tests/defects").join(list).with_extension("txt");
        let text = fs::read_to_string(&path).map_err(|error| format!("{list}: {error}"))?;
        read(&text, &mut defects).map_err(|what| format!("{list}.txt: {what}"))?;
    }
    for (index, defect) in defects.iter().enumerate() {
        let Defect { name, file, lost, code, tests, .. } = defect;
        if file.is_empty() || lost.is_empty() || code.is_empty() || tests.is_empty() {
            return Err(format!("{name} is not complete"));
        }
        if defects[..index].iter().any(|other| other.name == *name) {
            return Err(format!("there are two named {name}"));
        }
    }
    Ok(defects)
}

fn read(text: &str, defects: &mut Vec<Defect>) -> Result<(), String> {
    // The field that lines which are set in belong to.
    let mut field = String::new();
    for line in text.lines().filter(|line| !line.starts_with("//") && !line.is_empty()) {
        if let Some(name) = line.strip_prefix("## ") {
            defects.push(Defect { name: name.to_owned(), ..Defect::default() });
            continue;
        }
        let defect = defects.last_mut().ok_or("a field before the first name")?;
        let value = match line.split_once(':') {
            Some((name, value)) if !line.starts_with(' ') => {
                name.clone_into(&mut field);
                value.trim()
            }
            _ => line,
        };
        match &*field {
            "file" => value.clone_into(&mut defect.file),
            "lost" => defect.lost.push_str(value),
            "code" => defect.code.push_str(value),
            "here" => defect.here.push_str(value),
            "test" => defect.tests.push(value.trim().to_owned()),
            other => return Err(format!("{}: no field is named {other}", defect.name)),
        }
        if let "code" | "here" = &*field {
            let text = if field == "code" { &mut defect.code } else { &mut defect.here };
            text.push('\n');
        }
    }
    Ok(())
}
