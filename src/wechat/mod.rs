//! WeChat's server API, as far as a login needs it.
