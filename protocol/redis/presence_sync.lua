-- Presence of one room: reports the members of one server, renews its lease, removes members that are gone, and publishes
-- `enter`, `leave` and `count`, in one step. `publish` is the script that publishes with history, as a function.
--
-- A server has one lease for all its members of a room. Every call removes the members of servers whose lease
-- has ended. All times are those of Redis.
--
-- KEYS[1] the position of the room, and
-- KEYS[2] its log, as for `publish`
-- KEYS[3] the state of its presence, a hash:
--           t  touched     when the script ran last
--           q  quiet       until then, members that a server knows are restored without an event: Redis has lost them, or
--                          no server could renew a lease
--           g  large       1 if the room has so many members that only their number is published
--           c  counted     when the number was published last
--           d  due         1 if the number has changed since
--           x  expired     1 if the lease of a server has ended
-- KEYS[4] its users and their info, a hash; the info is empty if there is none
-- KEYS[5] the leases, a sorted set of servers by the time at which they end
-- KEYS[6] users without a connection, a sorted set by the time at which they leave
-- KEYS[7] the users of the calling server and their number of connections, a hash: <KEYS[3]>:of:<server>
-- KEYS[8] optional: events for the application, a list, each an id, a space and a JSON object. The caller moves
--         them into the journal of hooks and removes them here; if it is killed, the next server that calls does
-- ARGV    server; time of its lease (ms); time until a user without a connection leaves (ms); maximum size of a room that is not
--         large; interval of counts (ms); the room as JSON; 1 if it has a history; the eight arguments of `publish`; then four
--         for each change: user, number of connections, info, 1 if the server knows that Redis had it
-- Returns {number of members, users of the calling server, time until the next call is due (ms) or -1, number of events, 1 if
-- the room is large, up to 200 of these events}
local server, ttl, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max, interval, room_json, is_stored = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7] == '1'
local published = {unpack(ARGV, 8, 15)}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(number) return string.format('%d', number) end
local state = redis.call('HMGET', KEYS[3], 't', 'q', 'g', 'c', 'd', 'x')
local function number(value) return value and tonumber(value) or 0 end
local touched, quiet_until, is_large = state[1] and tonumber(state[1]), number(state[2]), state[3] == '1'
local counted, is_due, has_expired = number(state[4]), state[5] == '1', state[6] == '1'
local count, events, is_changed = redis.call('HLEN', KEYS[4]), 0, false
local servers, is_known = redis.call('ZRANGE', KEYS[5], 0, -1), false
if touched and (touched - now > 1000 or (#servers > 0 and now - touched > ttl / 2)) then
  -- There are leases and no server could renew one, or the clock has jumped: no user is removed before all servers had their turn.
  for _, one in ipairs(servers) do redis.call('ZADD', KEYS[5], int(now + ttl), one) end
  for _, user in ipairs(redis.call('ZRANGE', KEYS[6], 0, -1)) do redis.call('ZADD', KEYS[6], int(now + grace), user) end
  quiet_until = now + ttl
end
-- The room is new, or Redis has lost it: another server, or this one in its next call, may know members that Redis had.
if not touched or quiet_until > now + ttl then quiet_until = now + ttl end
for _, one in ipairs(servers) do is_known = is_known or one == server end
if not is_known then servers[#servers + 1] = server end

local function emit(event, message)
  local text = '{"room":' .. room_json .. ',"event":"nodevent:' .. event .. '","message":{' .. message .. '}}'
  events = events + 1
  published[2] = text
  if is_stored then return publish({KEYS[1], KEYS[2]}, published) end
  local receivers = redis.pcall(published[7], published[1], text)
  if type(receivers) == 'table' then
    local missing = string.find(receivers.err, 'Unknown Redis command', 1, true)
    redis.call(missing and 'PUBLISH' or published[7], published[1], text)
  end
end
local function emit_member(event, user, info)
  if info == '' then info = 'null' end
  local members = '"user":' .. cjson.encode(user) .. ',"info":' .. info .. ',"count":' .. int(count)
  emit(event, members)
  if KEYS[8] then
    local id = int(time[1] * 1000000 + time[2]) .. '-' .. int(events)
    redis.call('RPUSH', KEYS[8], id .. ' {"type":"' .. (event == 'enter' and 'entered' or 'left') .. '","at":' .. int(now) ..
      ',"room":' .. room_json .. ',' .. members .. '}')
    redis.call('LTRIM', KEYS[8], '-20000', '-1')
    redis.call('PEXPIRE', KEYS[8], int(math.max(86400000, 10 * ttl)))
  end
end
local function is_held(user)
  for _, one in ipairs(servers) do
    if redis.call('HEXISTS', KEYS[3] .. ':of:' .. one, user) == 1 then return true end
  end
  return false
end
local function add(user, info, is_silent)
  count = count + 1
  if not is_large and count > max then is_large, is_changed = true, true end
  redis.call('HSET', KEYS[4], user, is_large and '' or info)
  if is_large then is_due = true elseif not is_silent then emit_member('enter', user, info) end
end
local function remove(user)
  local info = redis.call('HGET', KEYS[4], user)
  if not info then return end
  redis.call('HDEL', KEYS[4], user)
  count = count - 1
  if not is_large then return emit_member('leave', user, info) end
  is_due = true
  -- A room at the limit does not alternate.
  if count <= max * 0.9 then is_large, is_changed = false, true end
end

for index = 16, #ARGV, 4 do
  local user, connections, info, is_restored = ARGV[index], tonumber(ARGV[index + 1]), ARGV[index + 2], ARGV[index + 3] == '1'
  local is_silent = is_restored and quiet_until > now
  if connections > 0 then
    redis.call('HSET', KEYS[7], user, int(connections))
    redis.call('ZREM', KEYS[6], user)
    local before = redis.call('HGET', KEYS[4], user)
    if not before then add(user, info, is_silent)
    elseif not is_large and before ~= info then redis.call('HSET', KEYS[4], user, info) end
  else
    local was_here = redis.call('HDEL', KEYS[7], user) == 1
    if (was_here or is_silent) and not is_held(user) then
      if is_silent and redis.call('HEXISTS', KEYS[4], user) == 0 then add(user, info, true) end
      if redis.call('HEXISTS', KEYS[4], user) == 1 then redis.call('ZADD', KEYS[6], int(now + grace), user) end
    end
  end
end

local budget, has_more = 200, false
for _, user in ipairs(redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', int(now), 'LIMIT', '0', int(budget))) do
  redis.call('ZREM', KEYS[6], user)
  budget = budget - 1
  if not is_held(user) then remove(user) end
end
for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', int(now))) do
  if one ~= server then
    if budget <= 0 then has_more = true break end
    has_expired = true
    local key = KEYS[3] .. ':of:' .. one
    local fields = redis.call('HSCAN', key, '0', 'COUNT', int(budget))[2]
    for index = 1, #fields, 2 do
      redis.call('HDEL', key, fields[index])
      budget = budget - 1
      if not is_held(fields[index]) then
        redis.call('ZREM', KEYS[6], fields[index])
        remove(fields[index])
      end
    end
    if redis.call('EXISTS', key) == 0 then redis.call('ZREM', KEYS[5], one) else has_more = true end
  end
end

local function hook_events() return KEYS[8] and redis.call('LRANGE', KEYS[8], '0', '199') or {} end
local own = redis.call('HLEN', KEYS[7])
if own > 0 then redis.call('ZADD', KEYS[5], int(now + ttl), server) else redis.call('ZREM', KEYS[5], server) end
if is_changed or (is_large and is_due and math.abs(now - counted) >= interval) then
  emit('count', '"count":' .. int(count) .. ',"large":' .. tostring(is_large))
  counted, is_due = now, false
end
local next_due = -1
local function due(at)
  local wait = math.max(0, at - now)
  if next_due < 0 or wait < next_due then next_due = wait end
end
if has_more then due(now) end
local leaving = redis.call('ZRANGE', KEYS[6], 0, 0, 'WITHSCORES')
if leaving[2] then due(tonumber(leaving[2])) end
if own > 0 then
  local leases = redis.call('ZRANGE', KEYS[5], 0, 1, 'WITHSCORES')
  for index = 1, #leases, 2 do
    if leases[index] ~= server then due(tonumber(leases[index + 1])) end
  end
end
if is_large and is_due then due(counted + interval) end
if count == 0 and not has_more then
  redis.call('DEL', KEYS[4], KEYS[6], KEYS[7])
  -- A server whose lease has ended must find out that its members have left.
  if not has_expired then
    redis.call('DEL', KEYS[3], KEYS[5])
    return {0, own, next_due, events, 0, hook_events()}
  end
end
redis.call('HSET', KEYS[3], 't', int(now), 'q', int(quiet_until), 'g', is_large and '1' or '0', 'c', int(counted),
  'd', is_due and '1' or '0', 'x', has_expired and '1' or '0')
-- For longer than the clock may jump ahead: members of a server that is killed at that moment must leave, and not be forgotten.
local keep = int(math.max(86400000, 10 * ttl + grace))
for index = 3, 7 do redis.call('PEXPIRE', KEYS[index], keep) end
return {count, own, math.ceil(next_due), events, is_large and 1 or 0, hook_events()}
