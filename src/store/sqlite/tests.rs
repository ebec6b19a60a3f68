//! Stories of the file.
