-- Reads the presence of one room. Writes nothing.
--
-- KEYS[1] the state of its presence, KEYS[2] its users, KEYS[3] the leases: as presence_sync.lua documents them
-- ARGV    the time (ms) after which a room that no server has touched has no members; maximum size of the result (bytes)
-- Returns {number of members, 1 if the room is large, 1 if all members follow, {user, info, number of connections, …}}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', KEYS[1], 't', 'g')
if not state[1] or math.abs(now - tonumber(state[1])) > tonumber(ARGV[1]) then return {0, 0, 1, {}} end
local count = redis.call('HLEN', KEYS[2])
if state[2] == '1' then return {count, 1, 0, {}} end
local connections = {}
for _, server in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  local users = redis.call('HGETALL', KEYS[1] .. ':of:' .. server)
  for index = 1, #users, 2 do
    connections[users[index]] = (connections[users[index]] or 0) + tonumber(users[index + 1])
  end
end
local members, left, is_complete = {}, tonumber(ARGV[2]), 1
local users = redis.call('HGETALL', KEYS[2])
for index = 1, #users, 2 do
  local user, info = users[index], users[index + 1]
  left = left - #user - #info - 48
  if left < 0 then
    is_complete = 0
    break
  end
  members[#members + 1] = user
  members[#members + 1] = info
  members[#members + 1] = tostring(connections[user] or 0)
end
return {count, 0, is_complete, members}
