-- Publishes a publication with history: gives it its offset, keeps it, and publishes it, in one step, so that the
-- three cannot diverge. Redis 6.2 or later, Valkey, alone or in a cluster (all keys carry one hash tag).
--
-- KEYS[1] the room's position: a hash of e (epoch) and o (offset), and of what read.lua says of another run
-- KEYS[2] the room's log: a stream whose ids are <offset>-0
-- KEYS[3] optional: where position and receivers of an idempotency key are remembered
-- ARGV    channel, publication (the text of a JSON object), most entries, age of the log (ms), age of the position (ms),
--         a fresh epoch, PUBLISH or SPUBLISH, age of the idempotency key (ms)
-- Returns {position, receivers, 1 if it was published before}
if KEYS[3] then
  local before = redis.call('GET', KEYS[3])
  if before then
    local position, receivers = string.match(before, '^(%S+) (%d+)$')
    return {position, tonumber(receivers), 1}
  end
end
-- From here to the line of dashes as in read.lua, where it is explained.
local room = redis.call('HMGET', KEYS[1], 'e', 'o', 'l')
local epoch = room[1]
local info = redis.pcall('INFO', 'replication')
local line = type(info) == 'string' and string.match(info, 'master_replid:(%w+)')
if not epoch then
  epoch = ARGV[6]
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', '0')
end
if line and line ~= room[3] then
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  if room[1] and run ~= redis.call('HGET', KEYS[1], 'i') then
    local to = string.format('%d', redis.call('HINCRBY', KEYS[1], 'o', '1000000000'))
    local whole = '0'
    if not string.find(info, 'master_replid2:00000000') then whole = '-1'
    elseif string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1') then whole = '1' end
    redis.call('HSET', KEYS[1], 'f', room[2] or '0', 't', to, 'w', whole)
  end
  redis.call('HSET', KEYS[1], 'l', line, 'i', run)
end
-- ----
local offset = string.format('%d', redis.call('HINCRBY', KEYS[1], 'o', 1))
local position = epoch .. ':' .. offset
local text = string.sub(ARGV[2], 1, -2) .. ',"position":"' .. position .. '"}'
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], offset .. '-0', 'd', text)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
local receivers = redis.pcall(ARGV[7], ARGV[1], text)
if type(receivers) == 'table' then
  -- Before Redis 7 there is no SPUBLISH, and PUBLISH reaches every node of a cluster. Another error comes again.
  local missing = string.find(receivers.err, 'Unknown Redis command', 1, true)
  receivers = redis.call(missing and 'PUBLISH' or ARGV[7], ARGV[1], text)
end
if KEYS[3] then redis.call('SET', KEYS[3], position .. ' ' .. receivers, 'PX', ARGV[8]) end
return {position, receivers, 0}
