-- Frees the place of a mailbox.
--
-- KEYS[1] as in mailbox_place.lua
-- ARGV    user
-- Returns 1 if the user had a place.
return redis.call('ZREM', KEYS[1], ARGV[1])
