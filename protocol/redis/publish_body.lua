-- Publishes one publication.
--
-- KEYS[3] optional: stores position and receivers for an idempotency key
-- ARGV    channel, publication (the text of a JSON object), size of the log, age of the log (ms), expiry of the position
--         (ms), an epoch for a new room, PUBLISH or SPUBLISH, expiry of the idempotency key (ms)
-- Returns {position, receivers, 1 if it was published before}
if KEYS[3] then
  local before = redis.call('GET', KEYS[3])
  if before then
    local position, receivers = string.match(before, '^(%S+) (%d+)$')
    return {position, tonumber(receivers), 1}
  end
end
local position, receivers =
  publish_one(KEYS[1], KEYS[2], ARGV[2], ARGV[1], ARGV[7], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
if KEYS[3] then redis.call('SET', KEYS[3], position .. ' ' .. receivers, 'PX', ARGV[8]) end
return {position, receivers, 0}
