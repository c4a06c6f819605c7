-- A user is connected, or was until now: the mailbox is kept for some time from now on.
--
-- KEYS    as in mailbox_prelude.lua
-- ARGV    that time (ms)
redis.call('HSETNX', KEYS[1], 'o', '0')
for index = 1, 3 do redis.call('PEXPIRE', KEYS[index], ARGV[1]) end
return 1
