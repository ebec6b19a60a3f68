-- Keys: a user's profile; who waits, since when, how many notices, the user's queue. Takes: the version to replace as records
-- have it, empty for none, and the record; a notice, empty for none, the user's name among those who wait, when it was
-- made, and how many may wait of a user and here. Gives 1 where the profile took its place, and 2 where moreover a notice
-- is lost. A profile stays until it is removed: it outlives the user's sessions.
local held = redis.call('GET', KEYS[1])
if (held and string.sub(held, 2, 9) or '') ~= ARGV[1] then return 0 end
local odd = ARGV[3] ~= '' and misfit(KEYS[2], KEYS[3], KEYS[4], KEYS[5])
if odd then return odd end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] == '' then return 1 end
return post(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[4], ARGV[3], ARGV[5], ARGV[6], ARGV[7])
