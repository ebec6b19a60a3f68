//! What a newcomer reads, held against what they will find: snippets load, commands parse, links lead somewhere, and what
//! a page says that wxgate prints is what it prints.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]
#![expect(clippy::case_sensitive_file_extension_comparisons, reason = "our own files end in .rs and .md")]

#[path = "docs/page.rs"]
mod page;

#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/demo.rs"]
mod demo;
#[path = "docs/pitfalls.rs"]
mod pitfalls;
#[path = "docs/readme.rs"]
mod readme;
#[path = "docs/references.rs"]
mod references;
#[path = "docs/reload.rs"]
mod reload;
#[path = "docs/security.rs"]
mod security;
#[path = "docs/snippets.rs"]
mod snippets;
