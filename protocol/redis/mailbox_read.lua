-- Reads a page of a mailbox, oldest first. Creates nothing, unless the reader is a connection of the mailbox's user.
--
-- ARGV    the id after which to read, messages and bytes of the page (one message is always returned), and for a
--         connection of the user the time for which the mailbox is kept (ms); otherwise empty
-- Returns {newest id, messages in the mailbox, 1 if there are more after the page, {id, message, …}}
if ARGV[4] ~= '' then
  redis.call('HSETNX', KEYS[1], 'o', '0')
  for index = 1, 3 do redis.call('PEXPIRE', KEYS[index], ARGV[4]) end
end
local newest = redis.call('HGET', KEYS[1], 'o') or '0'
local page, bytes, more, after = {}, 0, 0, ARGV[1] .. '-0'
local limit, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
while more == 0 do
  local entries = redis.call('XRANGE', KEYS[2], '(' .. after, '+', 'COUNT', '16')
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    local text = entry[2][2]
    if #page > 0 and (#page >= 2 * limit or bytes + #text > max_bytes) then more = 1 break end
    page[#page + 1], page[#page + 2] = id_of(entry), text
    bytes, after = bytes + #text, entry[1]
  end
end
return {newest, redis.call('XLEN', KEYS[2]), more, page}
