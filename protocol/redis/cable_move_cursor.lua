-- Moves the cursor of a page to what the page has received.
--
-- KEYS[1] as in cable_open_cursor.lua
-- ARGV    the connection; position; time for which the cursor is kept (ms)
-- Returns 1 if the cursor was moved.
local holder = redis.call('HGET', KEYS[1], 'h')
local shared = holder and holder ~= ARGV[1]
if shared then redis.call('HSET', KEYS[1], 'h', '')
else redis.call('HSET', KEYS[1], 'h', ARGV[1], 'p', ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return shared and 0 or 1
