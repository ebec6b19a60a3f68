-- Begins the scripts of notices. A shard has who waits and until when, since when each of these waits, and how many notices
-- there are; a user has a queue, and a claim while somebody tells the first of it. Places in a notice are those of outbox.rs.

-- When a notice was made. What is no notice was made long ago.
local function made_of(notice)
  return #notice >= 13 and struct.unpack('>I8', notice, 6) or 0
end

-- Puts a notice behind those of its user, as Place in ../../outbox.rs has it. Keys: whatever; who waits, since when, how many
-- notices, the user's queue and claim. Takes from place `at` on: the notice, the user's name, when it was made, how many may
-- wait of a user and here, and 1 where it supersedes. Gives 2 where one had to give way or this one is lost, and 1 otherwise.
-- What a server may refuse, for want of room or of rights, comes before anything is written.
local function post(at)
  local waiting, ages, count, queue, claim = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
  local notice, member, made, supersedes = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 5] == '1'
  local own, all = redis.call('LLEN', queue), tonumber(redis.call('GET', count) or 0)
  local full = all >= tonumber(ARGV[at + 4])
  if own == 0 and full then return 2 end
  local kept, gone = 0, 0
  if supersedes or own == 1 then
    kept = own > 0 and redis.call('EXISTS', claim) or 0
    if supersedes or full then gone = own - kept end
  elseif own > 1 and (full or own >= tonumber(ARGV[at + 3])) then
    -- The first may be under way, so it is the second that goes.
    kept, gone = 1, 1
  end
  redis.call('RPUSH', queue, notice)
  if gone > 0 then
    local first = kept == 1 and redis.call('LPOP', queue)
    for _ = 1, gone do redis.call('LPOP', queue) end
    if first then redis.call('LPUSH', queue, first) end
  end
  redis.call('INCRBY', count, 1 - gone)
  if own == gone then
    redis.call('ZADD', waiting, made, member)
    redis.call('ZADD', ages, made, member)
  end
  return gone > 0 and not supersedes and 2 or 1
end

