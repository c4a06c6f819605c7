-- Publishes several publications, each as publish_body.lua does, in their order.
--
-- KEYS    what this call returned, for a retry; then for each publication the position and the log of its room
-- ARGV    the number of the call, for its publisher; expiry of the first key (ms); an epoch for new rooms; the number of groups;
--         for each group: channel, PUBLISH or SPUBLISH, size of the log, age of the log (ms), expiry of the position (ms); for
--         each publication: the number of its group, from 1, and its text
-- Returns a line for each publication: position and receivers, or a minus sign and why Redis does not accept it
--
-- Redis refuses all writes of a script (out of memory, read only, ...) or none. If it refuses all, this script fails as a whole.
local before = redis.call('GET', KEYS[1])
if before then
  local number, lines = string.match(before, '^(%d+)\n(.*)$')
  if number == ARGV[1] then return lines end
end
local groups, lines, at = {}, {}, 5
for number = 1, tonumber(ARGV[4]) do
  groups[tostring(number)] = {ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]}
  at = at + 5
end
for number = 2, #KEYS, 2 do
  local group, new_epoch = groups[ARGV[at]], ARGV[3]
  local done, position, receivers = pcall(publish_one, KEYS[number], KEYS[number + 1], ARGV[at + 1],
    group[1], group[2], group[3], group[4], group[5], new_epoch)
  if done then
    lines[#lines + 1] = position .. ' ' .. receivers
  else
    local reason = type(position) == 'table' and position.err or tostring(position)
    lines[#lines + 1] = '-' .. string.gsub(reason, '%c', ' ')
  end
  at = at + 2
end
for log_key, size in pairs(untrimmed) do redis.pcall('XTRIM', log_key, 'MAXLEN', size) end
local result = table.concat(lines, '\n')
redis.call('SET', KEYS[1], ARGV[1] .. '\n' .. result, 'PX', ARGV[2])
return result
