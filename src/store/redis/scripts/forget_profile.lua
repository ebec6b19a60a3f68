-- Keys and what it takes: as put_profile.lua, without version and record. Gives 0 where there was no profile.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local told = 1
-- First what a full server could refuse, so that nothing is half done.
if ARGV[1] ~= '' then
  told = post(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[2], ARGV[1], ARGV[3], ARGV[4], ARGV[5])
end
redis.call('DEL', KEYS[1])
return told
