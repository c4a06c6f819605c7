-- Finds the position before what was published at a time or later. Writes nothing.
--
-- ARGV    time (ms); age of the log (ms)
-- Returns the position; `none` if the room does not exist; or an empty text if it cannot be known whether the log has everything
-- since then.
local room = redis.call('HMGET', KEYS[1], 'e', 'o')
local epoch, known = room[1], room[2]
if not epoch then return 'none' end
local since = tonumber(ARGV[1])
-- The offset and the time of the first publication at an offset or later.
local function first(offset)
  local entry = redis.call('XRANGE', KEYS[2], string.format('%d', offset) .. '-0', '+', 'COUNT', '1')[1]
  if entry then return tonumber(string.match(entry[1], '^(%d+)')), tonumber(entry[2][4] or '') end
end
local low, published = first(0)
if not low then
  -- The log has expired, so nothing was published within its age.
  local is_known = (known or '0') == '0' or since >= now - tonumber(ARGV[2])
  return is_known and epoch .. ':' .. (known or '0') or ''
end
-- Programs of an older version have stored no time.
if not published then return '' end
if published >= since then return low == 1 and epoch .. ':0' or '' end
local high = tonumber(known)
while low < high do
  local middle = math.floor((low + high + 1) / 2)
  local offset, time = first(middle)
  if offset and not time then return '' end
  if offset and time < since then low = math.max(offset, middle) else high = middle - 1 end
end
return epoch .. ':' .. string.format('%d', low)
