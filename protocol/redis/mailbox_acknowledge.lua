-- Removes messages from a mailbox and notifies the servers, in one step.
--
-- ARGV    channel, user (a JSON string), its age (ms; 0: no limit), the id up to which all are removed, or empty, then ids
-- Returns {removed, messages that are left}
local removed = 0
if ARGV[4] ~= '' then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', ARGV[4] .. '-0')) do
    remove(id_of(entry), entry[2][2])
    removed = removed + 1
  end
end
-- All connections of the user receive the notice, so it names only what was there.
local ids = {}
for index = 5, #ARGV do
  if remove_one(ARGV[index]) == 1 then
    removed = removed + 1
    ids[#ids + 1] = '"' .. ARGV[index] .. '"'
  end
end
local left = redis.call('XLEN', KEYS[2])
if left == 0 then
  redis.call('DEL', KEYS[2], KEYS[3])
  -- With an age, the mailbox says that its user is known.
  if ARGV[3] == '0' then redis.call('DEL', KEYS[1]) end
end
if removed > 0 then
  redis.call('PUBLISH', ARGV[1], '{"user":' .. ARGV[2] .. ',"unread":' .. string.format('%d', left) ..
    ',"up_to":"' .. ARGV[4] .. '","ids":[' .. table.concat(ids, ',') .. ']}')
end
return {removed, left}
