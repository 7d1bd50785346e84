//! Names that a peer proposes: one plain component on every system, or refused.

use duologue::fs::{Error, FileName, Inbox, InboxOptions, NameError, RelativePath};
use duologue::wire::{Batch, Offer, Side, TransferCode, TransferId};

use super::fs_util::{PEER, names};

fn refused(name: &str) -> NameError {
    let error = FileName::new(name).expect_err(name);
    // Nothing of the name is printed raw, not even a character of it.
    let shown = error.to_string();
    assert!(shown.is_ascii() && !shown.contains(|c: char| c.is_control()), "{shown:?}");
    error
}

#[test]
fn a15_h25_names_that_lead_elsewhere() {
    for (name, expected) in [
        ("", NameError::Empty),
        (".", NameError::Dots),
        ("..", NameError::Dots),
        ("../x", NameError::Character('/')),
        ("a/../../x", NameError::Character('/')),
        ("/etc/x", NameError::Character('/')),
        ("\\\\srv\\share", NameError::Character('\\')),
        ("C:x", NameError::Character(':')),
        ("C:\\x", NameError::Character(':')),
        ("a\\..\\b", NameError::Character('\\')),
        ("x.", NameError::Edge('.')),
        ("x ", NameError::Edge(' ')),
        (" x", NameError::Edge(' ')),
        ("x\u{A0}", NameError::Edge('\u{A0}')),
        ("...", NameError::Edge('.')),
        ("a\0b", NameError::Character('\0')),
    ] {
        assert_eq!(refused(name), expected, "{name:?}");
    }
    assert_eq!(refused(&"x".repeat(256)), NameError::TooLong { max: 255 });
    assert_eq!(refused(&"é".repeat(128)), NameError::TooLong { max: 255 });
    assert!(FileName::new(&"x".repeat(255)).is_ok());
}

#[test]
fn a15_h25_paths_that_lead_elsewhere() {
    for (path, expected) in [
        ("", NameError::Empty),
        ("/etc/x", NameError::Empty),
        ("a//b", NameError::Empty),
        ("a/", NameError::Empty),
        ("a/../../x", NameError::Dots),
        ("./a", NameError::Dots),
        ("a/C:/x", NameError::Character(':')),
        ("a./b", NameError::Edge('.')),
        ("a/nul/b", NameError::Device),
    ] {
        assert_eq!(RelativePath::new(path), Err(expected), "{path:?}");
    }
    let deep = ["d"; 10_000].join("/");
    assert_eq!(RelativePath::new(&deep), Err(NameError::TooLong { max: 4096 }));
    assert_eq!(RelativePath::new(&deep[..2001]), Err(NameError::TooDeep { max: 64 }));
    assert!(RelativePath::new(&["d"; 64].join("/")).is_ok());
    let long = vec!["x".repeat(255); 17].join("/");
    assert_eq!(RelativePath::new(&long), Err(NameError::TooLong { max: 4096 }));
}

#[test]
fn a15_h26_names_of_devices_and_streams() {
    for device in [
        "CON",
        "con",
        "nul.txt",
        "Aux.tar.gz",
        "PRN",
        "COM1",
        "com0.x",
        "COM¹",
        "LPT²",
        "lpt³.txt",
        "LPT9",
        "CONIN$",
        "conout$.log",
        "NUL .txt",
    ] {
        assert_eq!(refused(device), NameError::Device, "{device}");
    }
    for stream in ["file:stream", "a:b", "x::$DATA"] {
        assert_eq!(refused(stream), NameError::Character(':'));
    }
    for plain in ["CONSOLE", "COM", "COM10", "nul-1", "LPTX", "xCON", "COM⁴", "auxiliary.txt"] {
        assert!(FileName::new(plain).is_ok(), "{plain}");
    }
}

#[test]
fn h27_names_that_programs_treat_specially_are_a_matter_of_policy() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(folder.path()).unwrap();
    let willing = InboxOptions::new().special_names(true).open(folder.path()).unwrap();
    for name in [".bashrc", "-rf", "~x", "Desktop.ini", "autorun.inf", ".ssh"] {
        let error = inbox.receive(PEER, &Offer::new(name)).unwrap_err();
        assert_eq!(error, Error::FileName(NameError::Special), "{name}");
        assert_eq!(error.code(), TransferCode::NAME_REFUSED);
        assert_eq!(inbox.check(&Offer::new(name)).unwrap_err(), error);
        assert_eq!(willing.check(&Offer::new(name)).unwrap().as_str(), name);
    }
    // A folder is accepted by its name, count and bytes; each path in it is judged when it comes.
    let announced = Batch { name: "b".into(), count: 9, bytes: 9, metadata: [][..].into() };
    let mut batch = inbox.receive_batch(PEER, &announced).unwrap();
    let id = TransferId::new(Side::Client, 1).unwrap();
    for path in ["d/e/.ssh/authorized_keys", "d/.bashrc", "d/e/f/Desktop.ini"] {
        let error = batch.receive(&Offer::new(path).size(1).batch(id)).unwrap_err();
        assert_eq!(error, Error::FileName(NameError::Special), "{path}");
        assert_eq!(error.code(), TransferCode::NAME_REFUSED);
    }
    drop(batch);
    assert_eq!(names(folder.path()), ["b"], "nothing is in it");
    // Our own temporary files are nobody's to name.
    for name in [".duologue-x.part", ".DUOLOGUE-x.journal"] {
        let error = willing.check(&Offer::new(name)).unwrap_err();
        assert_eq!(error, Error::FileName(NameError::Temporary));
    }
    assert_eq!(names(folder.path()), ["b"]);
}

#[test]
fn h30_names_that_play_with_the_screen() {
    for character in [
        '\u{1B}',
        '\n',
        '\r',
        '\u{7F}',
        '\u{9B}',
        '\u{AD}',
        '\u{61C}',
        '\u{200B}',
        '\u{200E}',
        '\u{2028}',
        '\u{202E}',
        '\u{2066}',
        '\u{FEFF}',
        '\u{FFF9}',
        '\u{FFFE}',
        '\u{FDD0}',
        '\u{1FFFF}',
        '\u{E0041}',
        '?',
        '*',
        '"',
        '<',
        '>',
        '|',
    ] {
        assert_eq!(refused(&format!("a{character}b")), NameError::Character(character));
    }
    // As long as any other name.
    assert_eq!(refused(&"\u{301}".repeat(10_000)), NameError::TooLong { max: 255 });
    for name in
        ["naïve.txt", "日本語.txt", "e\u{301}", "a b (1).txt", "{x}", "#!%&'+,;=@[]^`", "😀"]
    {
        assert_eq!(FileName::new(name).unwrap().as_str(), name);
    }
}
