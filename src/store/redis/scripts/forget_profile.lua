-- Keys: as put_profile.lua. Takes: a notice, empty for none, and the rest that `post` takes. Gives what the profile was and, as
-- put_profile.lua does, 2 where a notice is lost and 1 otherwise; nothing where there was no profile.
local held = redis.call('GET', KEYS[1])
if not held then return false end
-- First what could be refused, so that nothing is half done.
local odd = ARGV[1] ~= '' and misfit()
if odd then return odd end
-- A full server refuses a script until it has written something that needs no room. This changes nothing, and what is removed
-- makes room.
if ARGV[1] ~= '' then redis.call('ZREM', KEYS[2], '') end
local told = ARGV[1] == '' and 1 or post(1)
redis.call('DEL', KEYS[1])
return {told, held}
