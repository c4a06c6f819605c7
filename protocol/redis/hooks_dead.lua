-- Reads dead letters, resends them, or deletes them.
--
-- ARGV    `read`, the id after which to begin, number; or
--         `resend` or `delete`, number, ids (none: the oldest ones)
-- Returns {number of dead letters, {id, event, reason, …}} for `read`, and otherwise {number, {}}
if ARGV[1] == 'read' then
  local letters = {}
  for _, entry in ipairs(redis.pcall('XRANGE', KEYS[4], '(' .. ARGV[2], '+', 'COUNT', ARGV[3])) do
    letters[#letters + 1] = entry[1]
    letters[#letters + 1] = entry[2][2]
    letters[#letters + 1] = entry[2][4]
  end
  return {redis.call('XLEN', KEYS[4]), letters}
end
local entries = {}
if #ARGV == 2 then
  entries = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', ARGV[2])
else
  for index = 3, #ARGV do entries[#entries + 1] = find(KEYS[4], ARGV[index]) end
end
local cleared = 0
for _, entry in ipairs(entries) do
  if redis.call('XDEL', KEYS[4], entry[1]) == 1 then
    cleared = cleared + 1
    if ARGV[1] == 'resend' then add(entry[2][2]) end
  end
end
return {cleared, {}}
