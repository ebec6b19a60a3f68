-- Begins the scripts of notices. A shard has who waits and until when, since when each of these waits, and how many notices
-- there are; a user has a queue. Places in a notice are those of outbox.rs.

-- The error that one of these keys would come to, or nothing: asked before the first write, or a key of another kind would
-- leave a change half done.
local function misfit(waiting, ages, count, queue)
  for _, asked in ipairs({{'ZRANGE', waiting, 0, 0}, {'ZRANGE', ages, 0, 0}, {'LLEN', queue}, {'GET', count}}) do
    local found = redis.pcall(unpack(asked))
    if type(found) == 'table' and found.err then return found end
  end
  local all = redis.call('GET', count)
  if all and not string.match(all, '^-?%d+$') then return redis.error_reply('WRONGTYPE this is no count') end
end

-- Puts a notice behind those of its user. Gives 2 where one had to give way or this one is lost, and 1 otherwise.
local function post(waiting, ages, count, queue, member, notice, made, per_user, in_shard)
  local own, all = redis.call('LLEN', queue), tonumber(redis.call('GET', count) or 0)
  local full, gone = own >= tonumber(per_user) or all >= tonumber(in_shard), 0
  if all >= tonumber(in_shard) and own < 2 then return 2 end
  redis.call('RPUSH', queue, notice)
  if full and own > 1 then
    -- The first may be under way, so it is the second that goes.
    local first = redis.call('LPOP', queue)
    redis.call('LPOP', queue)
    redis.call('LPUSH', queue, first)
    gone = 1
  end
  redis.call('INCRBY', count, 1 - gone)
  if own == 0 then
    redis.call('ZADD', waiting, made, member)
    redis.call('ZADD', ages, made, member)
  end
  return full and 2 or 1
end

