-- Keys: a user's sessions and session_key. Takes: now, and what the names of the user's sessions begin with.
-- Gives the digests of those that were live or may have been, oldest first.
local gone = {}
for _, digest in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = key_of(ARGV[2], digest)
  if kept(redis.call('GET', key), tonumber(ARGV[1])) then table.insert(gone, digest) end
  redis.call('DEL', key)
end
redis.call('DEL', KEYS[1], KEYS[2])
return gone
