-- Keys: as put_profile.lua. Takes: a notice, empty for none, and the rest that `post` takes. Gives what the profile was and, as
-- put_profile.lua does, 2 where a notice is lost and 1 otherwise; nothing where there was no profile.
local held = redis.call('GET', KEYS[1])
if not held then return false end
-- First what could be refused, so that nothing is half done.
local told = ARGV[1] == '' and 1 or post(1)
redis.call('DEL', KEYS[1])
return {told, held}
