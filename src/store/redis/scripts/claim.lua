-- Keys: who waits, since when, how many notices. Takes: now, how many at most, who claims, for how many milliseconds, what the
-- names of queues and of claims begin with, and after when nothing can be due but by a clock that was moved back since. Gives
-- each user and the first notice. A claim ends by the server's clock, which all senders share.
local found, lost = {}, false
-- A full server refuses a script until it has written something that needs no room. This changes nothing, and behind it
-- comes what makes room.
redis.call('ZREM', KEYS[1], '')
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
local left = tonumber(ARGV[2]) - #due
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[7], '+inf', 'LIMIT', 0, left)) do
  table.insert(due, member)
end
-- What is no queue must not be in the way of others. What can't be told, as while a slot moves, must not be taken for none: it is
-- asked for before anything is written.
local firsts = {}
for _, member in ipairs(due) do
  local first, claim = redis.pcall('LINDEX', ARGV[5] .. member, 0), redis.pcall('PTTL', ARGV[6] .. member)
  for _, answer in ipairs({first, claim}) do
    if type(answer) == 'table' and not string.find(answer.err, '^WRONGTYPE') then return answer end
  end
  firsts[member] = first
end
for _, member in ipairs(due) do
  local first = firsts[member]
  if type(first) == 'string' then
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
    redis.call('ZREM', KEYS[2], member)
    lost = true
  end
end
if lost then
  -- How many there were in it is not known any more.
  local all = 0
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local own = redis.pcall('LLEN', ARGV[5] .. member)
    if type(own) == 'table' and not string.find(own.err, '^WRONGTYPE') then return found end
    all = all + (type(own) == 'number' and own or 0)
  end
  redis.call('SET', KEYS[3], all)
end
return found
