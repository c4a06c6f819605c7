-- Reads up to where a page has received a stream. The connection that asks moves the cursor from now on.
--
-- KEYS[1] the cursor, a hash: p => the position; h => the connection that moves it, or empty if several connections of the
--         page have moved it at a time. Then it is no page's own, and is not read any more
-- ARGV    the connection
-- Returns the position, or an empty text.
local found = redis.call('HMGET', KEYS[1], 'p', 'h')
if not found[1] or not found[2] or found[2] == '' then return '' end
redis.call('HSET', KEYS[1], 'h', ARGV[1])
return found[1]
