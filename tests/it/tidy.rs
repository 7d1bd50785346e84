//! The house rules that a compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        let mut entries: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                // What is built there is not ours.
                if !path.ends_with("target") {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join(folder), &mut found);
    assert!(!found.is_empty());
    found
}

/// Code without comments, documentation and string contents that only talk about a module.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn no_file_is_longer_than_600_lines() {
    for folder in ["src", "tests", "examples", "benches", "fuzz/src", "fuzz/fuzz_targets"] {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= 600, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn lower_layers_never_import_higher_ones() {
    // The layers of DESIGN.md: who may be named by whom, beside itself.
    let allowed: &[(&str, &[&str])] = &[
        ("wire", &[]),
        ("proto", &["wire", "time"]),
        ("time", &[]),
        ("io", &["time"]),
        ("legacy", &["io", "time"]),
        ("net", &["io", "time", "session"]),
        ("session", &["io", "time", "wire", "proto"]),
        ("fs", &["wire", "proto", "session"]),
        ("testing", &["time", "wire", "proto", "fs"]),
    ];
    for (layer, below) in allowed {
        for (path, text) in sources(&format!("src/{layer}")) {
            for (other, _) in allowed.iter().filter(|(other, _)| other != layer) {
                let names = code(&text).any(|line| line.contains(&format!("crate::{other}")));
                assert!(!names || below.contains(other), "{} imports {other}", path.display());
            }
        }
    }
}

#[test]
fn what_works_without_std_names_no_std() {
    let sans_io = [
        "src/io/size_prefix.rs",
        "src/time/moment.rs",
        "src/legacy/file.rs",
        "src/legacy/file_error.rs",
        "src/legacy/text.rs",
        "src/legacy/text_encoder.rs",
        "src/legacy/chat_state.rs",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in sources("src") {
        let core_only = ["src/wire", "src/proto"];
        let core_only = core_only.iter().any(|layer| path.starts_with(root.join(layer)));
        if core_only || sans_io.iter().any(|name| path.ends_with(name)) {
            for forbidden in ["std::", "futures::", "Instant::now", "async "] {
                let found = code(&text).any(|line| line.contains(forbidden));
                assert!(!found, "{} names {forbidden}", path.display());
            }
        }
    }
}

#[test]
fn the_version_stands_in_the_changelog() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let changelog = fs::read_to_string(root.join("CHANGELOG.md")).unwrap();
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(changelog.contains(&heading), "CHANGELOG.md has no {heading}");
}

#[test]
fn tests_are_neither_ignored_nor_timed_by_sleeping() {
    let words = [["thread", "sleep"].join("::"), ["#[", "ignore"].concat(), ["todo", "!"].concat()];
    for (path, text) in sources("tests").into_iter().chain(sources("src")) {
        for word in &words {
            assert!(!code(&text).any(|line| line.contains(word)), "{}: {word}", path.display());
        }
    }
}
