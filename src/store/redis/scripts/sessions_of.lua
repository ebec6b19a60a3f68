-- Keys: a user's sessions. Takes: now, and what the names of the user's sessions begin with.
-- Gives the digest and the record of each that is live or may be, oldest first.
local found = {}
for _, digest in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local record = redis.call('GET', key_of(ARGV[2], digest))
  if kept(record, tonumber(ARGV[1])) then
    table.insert(found, digest)
    table.insert(found, record)
  end
end
return found
