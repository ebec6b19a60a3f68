-- Keys: the session, its user's sessions, its user's session_key. Takes: the digest and now.
-- Gives 1 where it was live.
local was_live = live(redis.call('GET', KEYS[1]), tonumber(ARGV[2]))
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[3]) end
return was_live and 1 or 0
