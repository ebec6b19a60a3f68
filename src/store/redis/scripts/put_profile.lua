-- Keys: a user's profile. Takes: the version to replace as records have it, empty for none, and the record.
-- Gives 1 where it took its place. It stays until it is removed: a profile outlives the user's sessions.
local held = redis.call('GET', KEYS[1])
if (held and string.sub(held, 2, 9) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
