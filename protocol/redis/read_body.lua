-- Reads a room's position, and what was published after an offset, in one step. Creates nothing.
--
-- ARGV    expiry of the position (ms), the offset after which to read, or -1 for the position alone, and the last
--         position that the caller has received live: its epoch and its offset, or two empty texts; optional: how many
--         publications to return at most, oldest first
-- Returns {epoch, offset, {publication, …}, jump_from, jump_to, lossless, born}. Three texts are empty if there was no
-- jump, and the last one if the room does not exist; then epoch and offset are those of `absent`.
if not epoch then
  local absent_epoch, now = absent()
  return {absent_epoch, now, {}, '', '', '', ''}
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local fields = redis.call('HMGET', KEYS[1], 'f', 't', 'w', 'o', 'b')
local from, to, lossless = fields[1], fields[2], fields[3]
if from and ARGV[3] == epoch then
  local received, known = tonumber(ARGV[4]), lossless
  if received > tonumber(from) and received < tonumber(to) then known = '-1'
  elseif received == tonumber(from) and lossless == '0' then known = '1' end
  if known ~= lossless then
    lossless = known
    redis.call('HSET', KEYS[1], 'w', lossless)
  end
end
local texts = {}
if tonumber(ARGV[2]) >= 0 then
  local after = string.format('%d', tonumber(ARGV[2]) + 1) .. '-0'
  local range = {'XRANGE', KEYS[2], after, '+'}
  if ARGV[5] then range[5], range[6] = 'COUNT', ARGV[5] end
  for _, entry in ipairs(redis.call(unpack(range))) do
    texts[#texts + 1] = entry[2][2]
  end
end
return {epoch, fields[4] or '0', texts, from or '', to or '', lossless or '', fields[5] or ''}
