//! Which rule a request falls under: canonical path, host and method in, route out.
