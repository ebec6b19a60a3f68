//! Small pieces of HTTP that several modules speak: bodies, problems, header names, client addresses.
