-- Keys: the session, its user's sessions, its user's session_key.
-- Takes: the record, its milliseconds to live and those of its lifetime, the sealed session_key, the digest, per_user,
-- now, and what the names of the user's other sessions begin with. Gives the digests of the live ones that had to go.
local session, user, session_key = KEYS[1], KEYS[2], KEYS[3]
local record, ttl, lifetime, sealed, digest = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local per_user, now, sessions = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]

-- The first write is the one that a full or read-only server refuses, so nothing is half done.
redis.call('SET', session, record, 'PX', ttl)

-- The order is that of arrival, whatever the instances' clocks say.
local newest = redis.call('ZRANGE', user, -1, -1, 'WITHSCORES')
redis.call('ZADD', user, tonumber(newest[2] or 0) + 1, digest)
if redis.call('PTTL', user) < lifetime then redis.call('PEXPIRE', user, lifetime) end
redis.call('SET', session_key, sealed, 'PX', redis.call('PTTL', user))

-- Without a limit only the oldest few are looked at, to keep a login short: whatever has run out gets among them.
local alive = {}
for _, other in ipairs(redis.call('ZRANGE', user, 0, per_user > 0 and -1 or 7)) do
  local key = key_of(sessions, other)
  if live(redis.call('GET', key), now) then
    table.insert(alive, other)
  else
    redis.call('DEL', key)
    redis.call('ZREM', user, other)
  end
end
local gone = {}
if per_user > 0 then
  for at = 1, #alive - per_user do
    redis.call('DEL', key_of(sessions, alive[at]))
    redis.call('ZREM', user, alive[at])
    gone[at] = alive[at]
  end
end
return gone
