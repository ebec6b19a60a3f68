//! `wxgate check --diff`: what a gateway that runs one file would take over from another.

use std::io::{self, Write};

use crate::config::{Change, Difference};

/// Writes what would change, and when.
pub(super) fn describe(out: &mut dyn Write, change: &Change) -> io::Result<()> {
    if change.applied.is_empty() && change.waiting.is_empty() {
        return writeln!(out, "nothing would change");
    }
    list(out, "would be taken over", &change.applied)?;
    list(out, "would need a restart", &change.waiting)
}

fn list(out: &mut dyn Write, title: &str, differences: &[Difference]) -> io::Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    writeln!(out, "{title}")?;
    differences.iter().try_for_each(|difference| writeln!(out, "  {difference}"))
}
