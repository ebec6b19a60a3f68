-- Keys: a user's sessions and session_key. Takes: now, and what the names of the user's sessions begin with.
-- Gives the sealed session_key while one of the sessions is live.
local digests = redis.call('ZRANGE', KEYS[1], 0, -1)
for at = #digests, 1, -1 do
  if live(redis.call('GET', key_of(ARGV[2], digests[at])), tonumber(ARGV[1])) then
    return redis.call('GET', KEYS[2])
  end
end
return false
