-- The first part of the scripts for the journal of a namespace's hooks: the time, and how events are added and removed. One of
-- hooks_append.lua, hooks_take.lua, hooks_done.lua and hooks_dead.lua follows. All keys carry one hash tag.
--
-- KEYS[1] the journal, a stream with the field e, the event (a JSON object), and c for the events of connections
-- KEYS[2] the bytes of all its events, a hash: b, and c for those of connections
-- KEYS[3] the keys of events that several servers report, a sorted set by the time (ms) of the first report
-- KEYS[4] dead letters, a stream with the fields e, the event, and r, why it was given up
-- KEYS[5] the server that sends, as a lease
-- KEYS[6] the events of connections (`connected`, `disconnected`) in the journal, a stream with the same ids
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(number) return string.format('%d', number) end
local function add(text, is_of_connection)
  redis.call('HINCRBY', KEYS[2], 'b', int(#text))
  if not is_of_connection then
    redis.call('XADD', KEYS[1], '*', 'e', text)
    return
  end
  local id = redis.call('XADD', KEYS[1], '*', 'e', text, 'c', '1')
  if type(redis.pcall('XADD', KEYS[6], id, 'c', '1')) == 'table' then
    -- It is of a journal that is gone, and whose ids were later ones.
    redis.call('DEL', KEYS[6])
    redis.call('HDEL', KEYS[2], 'c')
    redis.call('XADD', KEYS[6], id, 'c', '1')
  end
  redis.call('HINCRBY', KEYS[2], 'c', int(#text))
end
local function remove(entry)
  redis.call('XDEL', KEYS[1], entry[1])
  redis.call('HINCRBY', KEYS[2], 'b', int(-#entry[2][2]))
  if entry[2][3] ~= 'c' or redis.call('XDEL', KEYS[6], entry[1]) == 0 then return end
  redis.call('HINCRBY', KEYS[2], 'c', int(-#entry[2][2]))
end
-- A text that is not an id finds nothing.
local function find(stream, id) return redis.pcall('XRANGE', stream, id, id)[1] end
-- End of the prelude.
