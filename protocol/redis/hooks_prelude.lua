-- The first part of the scripts for the journal of a namespace's hooks: the time, and how events are added and removed. One of
-- hooks_append.lua, hooks_take.lua, hooks_done.lua and hooks_dead.lua follows. All keys carry one hash tag.
--
-- KEYS[1] the journal, a stream with the field e, the event (a JSON object), and c or m for the events of these parts
-- KEYS[2] the bytes of all its events, a hash: b, and c and m for those of these parts
-- KEYS[3] the keys of events that several servers report, a sorted set by the time (ms) of the first report
-- KEYS[4] dead letters, a stream with the fields e, the event, and r, why it was given up
-- KEYS[5] the server that sends, as a lease
-- KEYS[6] the part c: events of connections (`connected`, `disconnected`) in the journal, a stream with the same ids
-- KEYS[7] the part m: events of members (`entered`, `left`), likewise
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(number) return string.format('%d', number) end
local streams = {c = KEYS[6], m = KEYS[7]}
local function add(text, part)
  redis.call('HINCRBY', KEYS[2], 'b', int(#text))
  local stream = streams[part or '']
  if not stream then
    redis.call('XADD', KEYS[1], '*', 'e', text)
    return
  end
  local id = redis.call('XADD', KEYS[1], '*', 'e', text, part, '1')
  if type(redis.pcall('XADD', stream, id, part, '1')) == 'table' then
    -- It is of a journal that is gone, and whose ids were later ones.
    redis.call('DEL', stream)
    redis.call('HDEL', KEYS[2], part)
    redis.call('XADD', stream, id, part, '1')
  end
  redis.call('HINCRBY', KEYS[2], part, int(#text))
end
local function remove(entry)
  redis.call('XDEL', KEYS[1], entry[1])
  redis.call('HINCRBY', KEYS[2], 'b', int(-#entry[2][2]))
  local part = entry[2][3]
  local stream = streams[part or '']
  if not stream or redis.call('XDEL', stream, entry[1]) == 0 then return end
  redis.call('HINCRBY', KEYS[2], part, int(-#entry[2][2]))
end
-- A text that is not an id finds nothing.
local function find(stream, id) return redis.pcall('XRANGE', stream, id, id)[1] end
-- End of the prelude.
