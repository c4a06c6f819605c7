-- Returns some users that have a place, at random.
--
-- KEYS[1] as in mailbox_place.lua
-- ARGV    how many at most
return redis.call('ZRANDMEMBER', KEYS[1], ARGV[1])
