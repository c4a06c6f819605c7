-- The first part of the scripts of a history: makes sure that no offset is assigned twice. publish_one.lua and
-- publish_body.lua or publish_many_body.lua follow, or read_body.lua, or find_time_body.lua. Redis 6.2 or later, or Valkey, alone
-- or in a cluster: all keys of a room carry one hash tag.
--
-- KEYS[1] the position of the room, a hash. It exists from the first publication on:
--           e  epoch      sixteen hexadecimal digits, the first from 0 to 7
--           o  offset     that of the newest publication
--           b  born       what `absent` returned when the room was created, as `<epoch>:<offset>`
--           l  replid     replication id of the Redis that wrote the room last; cheap to ask for
--           i  run_id     run id of that Redis
--           f  jump_from  newest offset before the last jump
--           t  jump_to    offset after the jump
--           w  lossless   1 if the jump lost nothing, -1 if it lost something, 0 if that is not known
--           x  expiry     time at which this key expires (ms), unless a program of an older version has renewed it
-- KEYS[2] the log of the room, a stream whose ids are <offset>-0 and whose fields are d, the publication, and t, when it was
--         published (ms)
--
-- A Redis that restarts, and a replica that replaces its primary, may have gone back in time: clients have received
-- publications that this Redis has forgotten, and their offsets would be assigned again. So if another run of Redis wrote
-- the room last, the offset jumps by one billion, and the hash records what this Redis knows about the jump:
--    1  every command is on disk, or a server has received everything up to f and nothing later
--   -1  a replica took over, or a server has received something between f and t
-- The billion is a text because Redis 7.2 would write the number as 1e+9, which HINCRBY does not read.
--
-- A reader without members of the room writes nothing: it computes the jump that the next writer will record.
--
-- INFO takes longer than everything else. So a program reads the run id once, over a connection, puts it into the text on the
-- next line, and loads the text over that connection with EVAL and without keys. No other run of Redis has this text: a Redis
-- that ends forgets it, and from version 7 it is neither replicated nor on disk. Empty: every call asks Redis.
local verified_run = ''
if #KEYS == 0 then return verified_run end
local info, replid
-- Asks Redis for its replication id, once. Without permission there is none.
local function ask()
  if info then return end
  info = redis.pcall('INFO', 'replication')
  replid = type(info) == 'string' and string.match(info, 'master_replid:(%w+)')
end
local run = verified_run ~= '' and verified_run
local function run_id()
  run = run or string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  return run
end
-- `room` has epoch, known (its offset), replid and run as in the hash, and receives the new offset and the jump.
local function detect_jump(key, room, writes)
  if not room.epoch or run and run == room.run then return end
  ask()
  if not replid or replid == room.replid then return end
  local run = run_id()
  if run ~= room.run then
    local lossless = '0'
    if not string.find(info, 'master_replid2:00000000') then lossless = '-1'
    elseif string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1') then lossless = '1' end
    local known, to = room.known or '0'
    if writes then to = redis.call('HINCRBY', key, 'o', '1000000000') else to = tonumber(known) + 1000000000 end
    room.jump = {known, string.format('%d', to), lossless}
    room.known = room.jump[2]
    if writes then redis.call('HSET', key, 'f', known, 't', room.known, 'w', lossless) end
  end
  if writes then redis.call('HSET', key, 'l', replid, 'i', run) end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Keeps a position for an expiry (ms) at least. It is renewed when that is due, and is then an eighth longer. `expires` is the
-- field x.
local function keep(key, expires, expiry)
  expiry = tonumber(expiry)
  if (tonumber(expires or '') or 0) - now >= expiry then return end
  expiry = expiry + math.floor(expiry / 8)
  redis.call('HSET', key, 'x', string.format('%d', now + expiry))
  redis.call('PEXPIRE', key, string.format('%d', expiry))
end
-- The position of a room that does not exist. Nothing is stored for it. The epoch begins with f and identifies a time
-- during which this Redis has forgotten no room before its expiry; the offset is the time in milliseconds. Without INFO
-- nothing can be known, and each epoch is another one.
local function absent()
  local milliseconds = string.format('%d', now)
  ask()
  local stats = replid and redis.pcall('INFO', 'stats')
  local evicted = type(stats) == 'string' and string.match(stats, 'evicted_keys:(%d+)')
  local identity = evicted and replid .. ':' .. evicted or milliseconds .. time[2]
  return 'f' .. string.sub(redis.sha1hex(identity), 1, 15), milliseconds
end
-- End of the prelude.
