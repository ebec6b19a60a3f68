-- Begins every script: how a record is read, and how the key of a session is named.
-- The places are those of records.rs.

-- What a version before or after ours wrote can't be judged, so it counts: only its own end ends it.
local function readable(record)
  return #record >= 21 and string.byte(record) == 1
end

-- For how many more milliseconds a record is kept after its idle time. Not every use is written down, so an instance may
-- rightly hold a session live that looks unused for too long here: its next use must find it, and so must its end.
local function grace(idle)
  return idle * 50 + 60000
end

local function lasts(record, now, longer)
  if not record then return false end
  if not readable(record) then return true end
  local created, seen, idle, lifetime = struct.unpack('>I8I4I4I4', record, 2)
  local unused = idle * 1000 + (longer and grace(idle) or 0)
  return now - created - seen * 1000 < unused and now - created < lifetime * 1000
end

-- Whether a session is live by what is known here.
local function live(record, now)
  return lasts(record, now, false)
end

-- Whether it may be live by what an instance knows.
local function kept(record, now)
  return lasts(record, now, true)
end

local function key_of(sessions, digest)
  return sessions .. string.gsub(digest, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
end

