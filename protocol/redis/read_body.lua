-- Reads a room's position, and what was published after an offset, in one step. Creates nothing.
--
-- ARGV    expiry of the position (ms), which is renewed for the members for whom the caller reads, or an empty text for a
--         read that writes nothing; the offset after which to read, or -1 for the position alone; and the last position
--         that the caller has received live: its epoch and its offset, or two empty texts; optional: how many publications
--         to return at most, oldest first
-- Returns {epoch, offset, {publication, …}, jump_from, jump_to, lossless, born}. Three texts are empty if there was no
-- jump, and the last one if the room does not exist; then epoch and offset are those of `absent`.
local fields = redis.call('HMGET', KEYS[1], 'e', 'o', 'l', 'f', 't', 'w', 'i')
local room = {epoch = fields[1], known = fields[2], replid = fields[3], run = fields[7]}
room.jump = {fields[4], fields[5], fields[6]}
local epoch = room.epoch
if not epoch then
  local absent_epoch, now = absent()
  return {absent_epoch, now, {}, '', '', '', ''}
end
local writes = ARGV[1] ~= ''
detect_jump(KEYS[1], room, writes)
if writes then keep(KEYS[1], nil, ARGV[1]) end
local from, to, lossless = room.jump[1], room.jump[2], room.jump[3]
if from and ARGV[3] == epoch then
  local received, before = tonumber(ARGV[4]), lossless
  if received > tonumber(from) and received < tonumber(to) then lossless = '-1'
  elseif received == tonumber(from) and before == '0' then lossless = '1' end
  if writes and lossless ~= before then redis.call('HSET', KEYS[1], 'w', lossless) end
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
local born = redis.call('HGET', KEYS[1], 'b')
return {epoch, room.known or '0', texts, from or '', to or '', lossless or '', born or ''}
