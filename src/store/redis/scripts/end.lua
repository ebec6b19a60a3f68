-- Keys: the session, its user's sessions, its user's session_key. Takes: the digest, now, and the user as records have it.
-- Gives 1 where it was live. Only its own user's session is ended.
local record = redis.call('GET', KEYS[1])
if record and readable(record) and string.sub(record, 30, 29 + #ARGV[3]) ~= ARGV[3] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[3]) end
return live(record, tonumber(ARGV[2])) and 1 or 0
