-- Keys: a user's session_key. Takes: the sealed one that it must be, and the sealed one to put there for as long as that would have
-- stayed. Gives 1 where it was so.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
