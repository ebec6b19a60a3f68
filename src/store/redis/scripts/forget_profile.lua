-- Keys and what it takes: as put_profile.lua, without version and record. Gives what the profile was and, as put_profile.lua does, 2
-- where a notice is lost and 1 otherwise; nothing where there was no profile.
local held = redis.call('GET', KEYS[1])
if not held then return false end
local told = 1
local odd = ARGV[1] ~= '' and misfit(KEYS[2], KEYS[3], KEYS[4], KEYS[5])
if odd then return odd end
-- First what a full server could refuse, so that nothing is half done.
if ARGV[1] ~= '' then
  told = post(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[2], ARGV[1], ARGV[3], ARGV[4], ARGV[5])
end
redis.call('DEL', KEYS[1])
return {told, held}
