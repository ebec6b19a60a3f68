-- Keys: who waits. Takes: now, how many at most, who claims, for how many milliseconds, and what the names of queues and of
-- claims begin with. Gives each user and the first notice. A claim ends by the server's clock, which all senders share.
local found = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local first = redis.call('LINDEX', ARGV[5] .. member, 0)
  if first then
    local ours = redis.call('SET', ARGV[6] .. member, ARGV[3], 'NX', 'PX', ARGV[4])
    -- Another's ends when it ends, whatever we would have asked for.
    local lasts = math.max(redis.call('PTTL', ARGV[6] .. member), 1)
    redis.call('ZADD', KEYS[1], tonumber(ARGV[1]) + lasts, member)
    if ours then
      table.insert(found, member)
      table.insert(found, first)
    end
  else
    redis.call('ZREM', KEYS[1], member)
  end
end
return found
