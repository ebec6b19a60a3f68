//! Who calls? Granted, anonymous, denied; or an error when that could not be found out.
