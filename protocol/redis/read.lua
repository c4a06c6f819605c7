-- Reads a room's position and what came after an offset, in one step.
--
-- KEYS[1] the room's position, KEYS[2] its log (see publish.lua)
-- ARGV    a fresh epoch, age of the position (ms), the offset after which to read, or -1 for the position alone,
--         and the last position that the asker has heard live: its epoch and its offset, or two empty texts
-- Returns {epoch, offset, {publication, …}, from, to, whole}; the last three are empty, or tell of a skip
--
-- A Redis that is started again, and a replica that takes the place of its primary, may have gone back in time: what
-- they have forgotten was heard, and its offsets would be given a second time. So where another run holds the room than
-- the one that wrote it last, the offsets skip a thousand million numbers, from f to t, and what Redis cannot know is
-- told apart: w is 1 where nothing was lost (every command is on disk, or somebody has heard everything up to f and
-- nothing later), -1 where something was (a replica took over, or somebody has heard what lies between f and t), 0
-- where nobody knows. l and i name the last writer: its line of replication, which is cheap to ask, and its run. (The
-- thousand million is a text: as a number Redis 7.2 would write it 1e+9, which HINCRBY does not read.)
local room = redis.call('HMGET', KEYS[1], 'e', 'o', 'l')
local epoch = room[1]
local info = redis.pcall('INFO', 'replication')
local line = type(info) == 'string' and string.match(info, 'master_replid:(%w+)')
if not epoch then
  -- Nobody has spoken here, or it was forgotten: from now on "nothing was missed" can be told from "who knows".
  epoch = ARGV[1]
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
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local skip = redis.call('HMGET', KEYS[1], 'f', 't', 'w')
local from, to, whole = skip[1], skip[2], skip[3]
if from and ARGV[4] == epoch then
  local heard, now = tonumber(ARGV[5]), whole
  if heard > tonumber(from) and heard < tonumber(to) then now = '-1'
  elseif heard == tonumber(from) and whole == '0' then now = '1' end
  if now ~= whole then
    whole = now
    redis.call('HSET', KEYS[1], 'w', whole)
  end
end
local texts = {}
if tonumber(ARGV[3]) >= 0 then
  local after = string.format('%d', tonumber(ARGV[3]) + 1) .. '-0'
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], after, '+')) do
    texts[#texts + 1] = entry[2][2]
  end
end
return {epoch, redis.call('HGET', KEYS[1], 'o') or '0', texts, from or '', to or '', whole or ''}
