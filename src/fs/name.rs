use core::fmt;
use std::borrow::ToOwned;
use std::format;
use std::string::String;
use std::vec::Vec;

/// Most bytes of a name. UTF-16 never needs more units than UTF-8 needs bytes, so it bounds both.
const MAX_NAME: usize = 255;
/// Most bytes of a path.
const MAX_PATH: usize = 4096;
/// Most components of a path.
const MAX_DEPTH: usize = 64;

/// What the names of all temporary files begin with.
pub(super) const TEMPORARY: &str = ".duologue-";

/// A file's name that means the same, one plain file, on every system.
///
/// It is kept as it was given: neither its case nor its normalisation is changed. Names that differ
/// in these only are told apart, or not, by the file system that they are used on.
///
/// # Examples
///
/// ```
/// use duologue::fs::{FileName, NameError};
///
/// assert_eq!(FileName::new("report.pdf")?.as_str(), "report.pdf");
/// assert_eq!(FileName::new("nul.txt"), Err(NameError::Device));
/// assert_eq!(FileName::new("../x"), Err(NameError::Character('/')));
/// assert_eq!(FileName::new("fdp\u{202E}.exe"), Err(NameError::Character('\u{202E}')));
/// # Ok::<(), NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

/// A path of 1 to 64 [`FileName`]s with `/` between them, at most 4096 bytes.
///
/// # Examples
///
/// ```
/// use duologue::fs::{NameError, RelativePath};
///
/// let path = RelativePath::new("photos/2026/one.jpg")?;
/// assert_eq!(path.file_name(), "one.jpg");
/// assert_eq!(path.parent(), "photos/2026");
/// assert_eq!(RelativePath::new("photos/../../x"), Err(NameError::Dots));
/// assert_eq!(RelativePath::new("/etc/passwd"), Err(NameError::Empty));
/// # Ok::<(), NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(String);

/// Why a name is refused. It holds at most one character of it, and prints that escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameError {
    /// It is empty, or a path that has an empty component: at its beginning or end, say.
    Empty,
    /// It is `.` or `..`, or a component is.
    Dots,
    /// It is longer than this many bytes.
    TooLong {
        /// 255 for a name or a component, 4096 for a path.
        max: usize,
    },
    /// The path has more components than this.
    TooDeep {
        /// 64.
        max: usize,
    },
    /// One of `/ \ : * ? " < > |`, a control, format or bidirectional control character, a line or
    /// paragraph separator, or a noncharacter.
    Character(char),
    /// It begins or ends with a blank, or ends with a dot: some systems drop these.
    Edge(char),
    /// It is not Unicode. Only a [`Tree`](super::Tree) meets such names.
    NotUnicode,
    /// A device on some system, with any extension: `CON`, `nul.txt`, `COM¹`.
    Device,
    /// It looks like one of our temporary files.
    Temporary,
    /// Programs treat it specially: it begins with `.`, `-` or `~`, or is `desktop.ini` or
    /// `autorun.inf`. Only an [`Inbox`](super::Inbox) or a [`Tree`](super::Tree) that was not told
    /// otherwise refuses it.
    Special,
}

impl FileName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`NameError`], by any of its reasons but [`Special`](NameError::Special).
    pub fn new(name: &str) -> Result<Self, NameError> {
        check(name)?;
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether programs treat it specially: see [`NameError::Special`].
    pub fn is_special(&self) -> bool {
        is_special(&self.0)
    }
}

impl RelativePath {
    /// Checks a path.
    ///
    /// # Errors
    ///
    /// [`NameError`], of the path or of a component, by any of its reasons but
    /// [`Special`](NameError::Special).
    pub fn new(path: &str) -> Result<Self, NameError> {
        if path.len() > MAX_PATH {
            return Err(NameError::TooLong { max: MAX_PATH });
        }
        if path.split('/').nth(MAX_DEPTH).is_some() {
            return Err(NameError::TooDeep { max: MAX_DEPTH });
        }
        path.split('/').try_for_each(check)?;
        Ok(Self(path.to_owned()))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its components, the outermost folder first.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// All but the last component: empty if there is one only.
    pub fn parent(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(parent, _)| parent)
    }

    /// Whether programs treat a component specially: see [`NameError::Special`].
    pub fn is_special(&self) -> bool {
        self.components().any(is_special)
    }

    /// What it shares with every path that a file system which ignores case takes for the same.
    pub(super) fn folded(&self) -> String {
        // Lower case first: of a capital sharp s there is no other upper case.
        let lower = self.0.to_lowercase();
        lower.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    }

    pub(super) fn beneath(folder: &str, name: &str) -> Result<Self, NameError> {
        Self::new(&join(folder, name))
    }
}

impl From<FileName> for RelativePath {
    fn from(name: FileName) -> Self {
        Self(name.0)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NameError {
    pub(super) fn unless_plain(is_special: bool) -> Result<(), Self> {
        if is_special { Err(Self::Special) } else { Ok(()) }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty name"),
            Self::Dots => f.write_str("a name of one or two dots"),
            Self::TooLong { max } => write!(f, "a name of more than {max} bytes"),
            Self::TooDeep { max } => write!(f, "a path of more than {max} names"),
            Self::Character(c) => write!(f, "a name with the character U+{:04X}", u32::from(*c)),
            Self::Edge(c) => {
                write!(f, "a name with U+{:04X} at its beginning or end", u32::from(*c))
            }
            Self::NotUnicode => f.write_str("a name that is not Unicode"),
            Self::Device => f.write_str("the name of a device"),
            Self::Temporary => f.write_str("the name of a temporary file"),
            Self::Special => f.write_str("a name that programs treat specially"),
        }
    }
}

impl core::error::Error for NameError {}

/// `folder/name`, or the name where the folder is the root.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// `name.ext`, `name (1).ext`, `name (2).ext` and so on, the stem cut so that at most `max` bytes
/// come out.
pub(super) fn numbered(name: &str, number: u32, max: usize) -> String {
    if number == 0 {
        return name.to_owned();
    }
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let tail = format!(" ({number}){extension}");
    let mut room = max.saturating_sub(tail.len()).min(stem.len());
    while !stem.is_char_boundary(room) {
        room = room.saturating_sub(1);
    }
    format!("{}{tail}", stem.get(..room).unwrap_or_default())
}

/// As [`numbered`], of a name that fits the rules: so does what comes out.
pub(super) fn numbered_name(name: &str, number: u32) -> Option<String> {
    let candidate = numbered(name, number, MAX_NAME);
    check(&candidate).is_ok().then_some(candidate)
}

fn check(name: &str) -> Result<(), NameError> {
    if matches!(name, "." | "..") {
        return Err(NameError::Dots);
    }
    let (Some(first), Some(last)) = (name.chars().next(), name.chars().next_back()) else {
        return Err(NameError::Empty);
    };
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong { max: MAX_NAME });
    }
    if let Some(character) = name.chars().find(|&c| is_refused(c)) {
        return Err(NameError::Character(character));
    }
    if first.is_whitespace() {
        return Err(NameError::Edge(first));
    }
    if last.is_whitespace() || last == '.' {
        return Err(NameError::Edge(last));
    }
    if is_device(name) {
        return Err(NameError::Device);
    }
    let begins = |prefix: &str| name.get(..prefix.len()).is_some_and(|n| same(n, prefix));
    if begins(TEMPORARY) { Err(NameError::Temporary) } else { Ok(()) }
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn is_refused(character: char) -> bool {
    character.is_control()
        || matches!(character, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
        // What is not seen, or changes how the rest is seen (general category Cf, Zl and Zp).
        || matches!(character,
            '\u{00AD}' | '\u{0600}'..='\u{0605}' | '\u{061C}' | '\u{06DD}' | '\u{070F}'
            | '\u{0890}'..='\u{0891}' | '\u{08E2}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{110BD}' | '\u{110CD}' | '\u{13430}'..='\u{1343F}'
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E007F}')
        // Noncharacters.
        || matches!(character, '\u{FDD0}'..='\u{FDEF}')
        || u32::from(character) & 0xFFFE == 0xFFFE
}

/// The devices of Windows, with any extension: Microsoft, "Naming Files, Paths, and Namespaces".
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].iter().any(|device| same(stem, device)) {
        return true;
    }
    let mut characters: Vec<char> = stem.chars().take(5).collect();
    let digit = characters.pop();
    let port: String = characters.into_iter().collect();
    matches!(digit, Some('0'..='9' | '¹' | '²' | '³')) && (same(&port, "COM") || same(&port, "LPT"))
}

fn is_special(name: &str) -> bool {
    name.starts_with(['.', '-', '~']) || same(name, "desktop.ini") || same(name, "autorun.inf")
}
