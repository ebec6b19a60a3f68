//! How many logins one address may try, and how many may wait for WeChat at once.
