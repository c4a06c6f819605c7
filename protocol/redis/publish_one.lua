-- Publishes a publication with history: assigns its offset, stores it and publishes it in one step, so that the three
-- cannot diverge. Returns its position, and the number of receivers.
local published = string.format('%d', now)
-- The epochs of the rooms to which this call has published, by the key of the position, and the sizes of logs to trim.
local epochs, untrimmed = {}, {}
-- Reads the epoch of a room, creates a room that does not exist, and renews the expiry.
local function open_room(position_key, log_key, position_expiry, new_epoch)
  local fields = redis.call('HMGET', position_key, 'e', 'o', 'l', 'x', 'i')
  local epoch, expires = fields[1], fields[4]
  if epoch then
    detect_jump(position_key, {epoch = epoch, known = fields[2], replid = fields[3], run = fields[5]}, true)
  else
    epoch, expires = new_epoch, nil
    local absent_epoch, absent_offset = absent()
    -- The first write is one that a Redis without memory rejects, before any other: then a call has changed all or nothing.
    redis.call('HSET', position_key, 'e', epoch, 'o', '0', 'b', absent_epoch .. ':' .. absent_offset)
    redis.call('DEL', log_key)
    if replid then redis.call('HSET', position_key, 'l', replid, 'i', run_id()) end
  end
  keep(position_key, expires, position_expiry)
  return epoch
end
local function publish_one(position_key, log_key, text, channel, command, size, log_expiry, position_expiry, new_epoch)
  local epoch, is_first = epochs[position_key], false
  if not epoch then
    epoch, is_first = open_room(position_key, log_key, position_expiry, new_epoch), true
  end
  local offset = string.format('%d', redis.call('HINCRBY', position_key, 'o', 1))
  local position = epoch .. ':' .. offset
  text = string.sub(text, 1, -2) .. ',"position":"' .. position .. '"}'
  if is_first then
    redis.call('XADD', log_key, 'MAXLEN', size, offset .. '-0', 'd', text, 't', published)
    redis.call('PEXPIRE', log_key, log_expiry)
    epochs[position_key] = epoch
  else
    redis.call('XADD', log_key, offset .. '-0', 'd', text, 't', published)
    untrimmed[log_key] = size
  end
  local receivers = redis.pcall(command, channel, text)
  if type(receivers) == 'table' then
    -- Before Redis 7 there is no SPUBLISH, and PUBLISH reaches every node of a cluster. Any other error occurs again.
    local missing = string.find(receivers.err, 'Unknown Redis command', 1, true)
    receivers = redis.call(missing and 'PUBLISH' or command, channel, text)
  end
  return position, receivers
end
