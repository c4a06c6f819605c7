-- Reads a session and removes it: it is restored once.
--
-- KEYS[1] the session, a text
-- Returns the text, or an empty one.
local found = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return found or ''
