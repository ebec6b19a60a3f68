// The Mini Program itself has nothing to do at its start: whoever needs a session gets one.

App({});
