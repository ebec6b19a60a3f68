-- Begins every script: how a record is read, and how the key of a session is named.
-- The places are those of records.rs.

-- What a version before or after ours wrote can't be judged, so it counts: only its own end ends it.
local function readable(record)
  return #record >= 21 and string.byte(record) == 1
end

local function live(record, now)
  if not record then return false end
  if not readable(record) then return true end
  local created, seen, idle, lifetime = struct.unpack('>I8I4I4I4', record, 2)
  return now - created - seen * 1000 < idle * 1000 and now - created < lifetime * 1000
end

local function key_of(sessions, digest)
  return sessions .. string.gsub(digest, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
end

