-- Keys: the session, its user's sessions, its user's session_key.
-- Takes: the record, the milliseconds to keep it and those of its lifetime, the sealed session_key, the digest, per_user,
-- now, and what the names of the user's other sessions begin with. Gives the digests of those that had to go and were
-- live or may have been.
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

local function remove(other)
  redis.call('DEL', key_of(sessions, other))
  redis.call('ZREM', user, other)
end

-- Without a limit only a few are looked at, to keep a login short: any eight. Where more than an eighth of them have run
-- out, a login takes away more than the one that it adds, on average; among the oldest eight it might never find any.
if per_user == 0 then
  for _, other in ipairs(redis.call('ZRANDMEMBER', user, 8)) do
    if not kept(redis.call('GET', key_of(sessions, other)), now) then remove(other) end
  end
  return {}
end

-- Live ones first, and in the places that they leave those that have just run out here: they may be live elsewhere.
local alive, doubtful, gone = {}, {}, {}
for _, other in ipairs(redis.call('ZRANGE', user, 0, -1)) do
  local found = redis.call('GET', key_of(sessions, other))
  if live(found, now) then
    table.insert(alive, other)
  elseif kept(found, now) then
    table.insert(doubtful, other)
  else
    remove(other)
  end
end
local function leave(room, list)
  for at = 1, #list - room do
    remove(list[at])
    table.insert(gone, list[at])
  end
end
leave(math.max(per_user - #alive, 0), doubtful)
leave(per_user, alive)
return gone
