-- Keys: a user's profile; who waits, since when, how many notices, the user's queue and claim. Takes: the version to replace as
-- records have it, empty for none, and the record; a notice, empty for none, and the rest that `post` takes. Gives 1 where the
-- profile took its place, and 2 where moreover a notice is lost. A profile stays until it is removed: it outlives the user's sessions.
local held = redis.call('GET', KEYS[1])
if (held and string.sub(held, 2, 9) or '') ~= ARGV[1] then return 0 end
-- First what could be refused, a full server's or for want of rights, so that nothing is half done.
local told = ARGV[3] == '' and 1 or post(3)
redis.call('SET', KEYS[1], ARGV[2])
return told
