-- Begins the scripts of notices. A shard has who waits and until when, since when each of these waits, and how many notices
-- there are; a user has a queue, and a claim while somebody tells the first of it. Places in a notice are those of outbox.rs.

-- As often was tried what a notice behind it supersedes, as outbox.rs has it.
local SUPERSEDED = '\255\255\255\255'

-- When a notice was made. What is no notice was made long ago.
local function made_of(notice)
  return #notice >= 13 and struct.unpack('>I8', notice, 6) or 0
end

-- The error that one of the keys of `post` would come to, or nothing: asked before the first write, or a key of another kind
-- would leave a change half done.
local function misfit()
  for _, asked in ipairs({{'ZRANGE', KEYS[2], 0, 0}, {'ZRANGE', KEYS[3], 0, 0}, {'LLEN', KEYS[5]}, {'GET', KEYS[4]}}) do
    local found = redis.pcall(unpack(asked))
    if type(found) == 'table' and found.err then return found end
  end
  local all = redis.call('GET', KEYS[4])
  if all and not string.match(all, '^-?%d+$') then return redis.error_reply('WRONGTYPE this is no count') end
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
  if supersedes and kept == 1 then
    local first = redis.call('LINDEX', queue, 0)
    if #first >= 5 then
      redis.call('LSET', queue, 0, string.sub(first, 1, 1) .. SUPERSEDED .. string.sub(first, 6))
    end
  end
  redis.call('INCRBY', count, 1 - gone)
  -- Those who wait may have been lost, when somebody removed them.
  for _, key in ipairs({waiting, ages}) do
    if own == gone then redis.call('ZADD', key, made, member) else redis.call('ZADD', key, 'NX', made, member) end
  end
  return gone > 0 and not supersedes and 2 or 1
end

