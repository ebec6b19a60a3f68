//! What a reader would type: every command line of ours is one that wxgate understands, and a transcript shows what it
//! prints.

use std::{fs, path::Path, process::Command};

use clap::{Parser, error::ErrorKind};
use wxgate::cli::Cli;

use super::page::{Page, pages};

const SHELL: &[&str] = &["sh", "console"];

/// What a command that has commands of its own says to its name alone.
const HELP_INSTEAD: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

#[test]
fn every_command_line_shown_is_understood() {
    let mut seen = 0;
    for page in pages() {
        let typed = page.blocks_in(SHELL).flat_map(|(_, text)| text.lines()).map(|line| (line, false));
        let named = page.spans.iter().map(|span| (span.text.as_str(), true));
        for (line, in_a_sentence) in typed.chain(named) {
            let Some(words) = wxgate_words(line) else { continue };
            seen += 1;
            // A sentence may call a command by its name alone.
            let name_alone = in_a_sentence && words.len() == 2;
            match Cli::try_parse_from(&words).map_err(|error| (error.kind(), error)) {
                Ok(_) | Err((ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, _)) => {}
                Err((ErrorKind::MissingRequiredArgument | HELP_INSTEAD, _)) if name_alone => {}
                Err((_, error)) => panic!("{}: {line}\n{error}", page.path),
            }
        }
    }
    assert!(seen > 10, "only {seen} command lines were found");
}

#[test]
fn a_command_line_is_found_in_every_dress() {
    let words = |line| wxgate_words(line).map(|words| words.join(" "));
    assert_eq!(words("cargo run -- demo"), Some("wxgate demo".to_owned()));
    assert_eq!(words("$ WX_APP_SECRET=x target/release/wxgate check"), Some("wxgate check".to_owned()));
    assert_eq!(words("wxgate"), Some("wxgate".to_owned()));
    assert_eq!(words("wxgate: it broke"), None);
    assert_eq!(words("cargo test --locked"), None);
}

/// The words of a line that runs wxgate, its name first.
fn wxgate_words(line: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = line.trim_start_matches("$ ").split_whitespace().collect();
    let assigned =
        words.iter().take_while(|word| word.split_once('=').is_some_and(|(name, _)| is_variable(name))).count();
    let words = &words[assigned..];
    if words.first().is_some_and(|first| Path::new(first).file_name().is_some_and(|name| name == "wxgate")) {
        return Some([&["wxgate"], &words[1..]].concat());
    }
    let dashes = words.iter().position(|word| *word == "--")?;
    words.starts_with(&["cargo", "run"]).then(|| [&["wxgate"], &words[dashes + 1..]].concat())
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

#[test]
fn a_transcript_shows_what_wxgate_prints() {
    let mut commands = 0;
    for page in ["README.md", "README.zh-CN.md"].map(Page::read) {
        let folder = folder_with_the_configuration_of(&page);
        for (name, text) in page.blocks_in(&["console"]) {
            for transcript in text.split("$ ").skip(1) {
                let (command, printed) = transcript.split_once('\n').unwrap_or((transcript, ""));
                let words = wxgate_words(command).unwrap_or_else(|| panic!("{name}: {command} does not run wxgate"));
                let output = Command::new(env!("CARGO_BIN_EXE_wxgate"))
                    .args(&words[1..])
                    .env("WX_APP_SECRET", "a-secret-of-the-documentation")
                    .current_dir(&folder)
                    .output()
                    .unwrap();
                let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
                assert_eq!(said.trim_end(), printed.trim_end(), "{name}: {command}");
                commands += 1;
            }
        }
    }
    assert!(commands >= 2, "only {commands} transcripts were found");
}

/// A folder with the first configuration of a page as its `gateway.toml`.
fn folder_with_the_configuration_of(page: &Page) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs").join(&page.path);
    fs::create_dir_all(&folder).unwrap();
    let (_, text) = page.blocks_in(&["toml"]).next().unwrap();
    fs::write(folder.join("gateway.toml"), text).unwrap();
    folder
}
