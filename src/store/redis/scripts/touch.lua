-- Keys: a session. Takes: when it was used. One that is gone stays gone, and no use moves the last one back.
-- That the use came in time is for whoever let it pass to know: the use before it may not be written down here.
local record, at = redis.call('GET', KEYS[1]), tonumber(ARGV[1])
if not record or not readable(record) then return 0 end
local created, seen, idle, lifetime = struct.unpack('>I8I4I4I4', record, 2)
local used, over = math.floor((at - created) / 1000), lifetime * 1000 - (at - created)
if used <= seen or over <= 0 then return 0 end
local left = math.min(idle * 1000 + grace(idle), over)
redis.call('SET', KEYS[1], string.sub(record, 1, 9) .. struct.pack('>I4', used) .. string.sub(record, 14), 'PX', left)
return 1
