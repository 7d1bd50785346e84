//! Any string as a name or a path: what is taken is one plain component on every system, and stays
//! so when it gets a number.

use std::path::{Component, Path};
use std::sync::Arc;

use duologue::fs::{FileName, InboxOptions, NameError, RelativePath};
use duologue::testing::ShadowDisk;
use duologue::wire::{Digest, Offer};

/// The input is the name.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let name = FileName::new(&text);
    if let Err(error) = &name {
        show(error);
    }
    if let Ok(name) = &name {
        assert_eq!(name.as_str(), text);
        assert_eq!(name.to_string(), text);
        judge(&text);
        assert_eq!(RelativePath::new(&text).map(|path| path.to_string()), Ok(text.to_string()));
        receive(&text);
    }
    match RelativePath::new(&text) {
        Err(error) => show(&error),
        Ok(path) => {
            assert_eq!(path.as_str(), text);
            assert!(text.len() <= 4096 && path.components().count() <= 64);
            path.components().for_each(judge);
            let folder = Path::new("/folder");
            assert!(folder.join(&*text).starts_with(folder));
            assert_eq!(name.is_ok(), path.components().count() == 1);
        }
    }
}

fn show(error: &NameError) {
    assert!(error.to_string().chars().all(|c| c.is_ascii_graphic() || c == ' '));
}

/// What Unix and Windows make of a name, by their own rules.
fn judge(name: &str) {
    assert!((1..=255).contains(&name.len()) && name.encode_utf16().count() <= 255);
    let components: Vec<_> = Path::new(name).components().collect();
    assert!(matches!(components[..], [Component::Normal(only)] if only == name));
    let folder = Path::new("/folder");
    assert_eq!(folder.join(name).parent(), Some(folder));
    for character in name.chars() {
        assert!(!"/\\:*?\"<>|".contains(character) && !character.is_control());
        let invisible = ('\u{200B}'..='\u{200F}').contains(&character)
            || ('\u{2028}'..='\u{202E}').contains(&character)
            || ('\u{2066}'..='\u{2069}').contains(&character);
        assert!(!invisible && character != '\u{FEFF}');
    }
    assert_eq!(name.trim().len(), name.len());
    assert!(!name.ends_with('.'));
    let upper = name.to_uppercase();
    let stem = upper.split('.').next().unwrap_or_default().trim_end();
    assert!(!["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem));
    for port in ["COM", "LPT"] {
        for digit in "0123456789¹²³".chars() {
            assert_ne!(stem, format!("{port}{digit}"));
        }
    }
}

/// Twice, so that the second one gets a number.
fn receive(name: &str) {
    let disk = ShadowDisk::new();
    let options = InboxOptions::new().special_names(true);
    let inbox = options.open_on(Arc::new(disk.clone())).unwrap();
    for count in 1..=3 {
        let receiver = inbox.receive(None, &Offer::new(name).size(0)).unwrap();
        let digest = Digest::Blake3(*blake3::hash(b"").as_bytes());
        let Ok(path) = receiver.finish(0, Some(digest)) else { return };
        judge(path.as_str());
        assert!(FileName::new(path.as_str()).is_ok());
        assert_eq!(disk.names().len(), count);
    }
}
