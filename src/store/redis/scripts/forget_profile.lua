-- Keys: a user's profile. Removes it and gives what it was, nothing where there was none.
local held = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return held
