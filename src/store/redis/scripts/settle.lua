-- Keys: who waits, since when, how many notices, the user's queue and claim. Takes: who has claimed, the user's name, 1 where
-- the first notice is over and 0 where it is tried again, when that or the next one is due, and now. Gives 1 where it was so.
if redis.call('GET', KEYS[5]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[5])
local first = redis.call('LINDEX', KEYS[4], 0)
local again, due = ARGV[3] == '0', ARGV[4]
if again and first and string.sub(first, 2, 5) == SUPERSEDED then again, due = false, ARGV[5] end
if first and again then
  if #first >= 5 then
    local tried = math.min(struct.unpack('>I4', first, 2) + 1, 4294967294)
    redis.call('LSET', KEYS[4], 0, string.sub(first, 1, 1) .. struct.pack('>I4', tried) .. string.sub(first, 6))
  end
elseif first then
  redis.call('LPOP', KEYS[4])
  redis.call('INCRBY', KEYS[3], -1)
  first = redis.call('LINDEX', KEYS[4], 0)
end
if first then
  redis.call('ZADD', KEYS[1], due, ARGV[2])
  redis.call('ZADD', KEYS[2], made_of(first), ARGV[2])
else
  redis.call('ZREM', KEYS[1], ARGV[2])
  redis.call('ZREM', KEYS[2], ARGV[2])
end
return 1
