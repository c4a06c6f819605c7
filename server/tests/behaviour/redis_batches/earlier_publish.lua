local room = redis.call('HMGET', KEYS[1], 'e', 'o', 'l', 'f', 't', 'w')
local epoch, known, jump = room[1], room[2], {room[4], room[5], room[6]}
local info = redis.pcall('INFO', 'replication')
local replid = type(info) == 'string' and string.match(info, 'master_replid:(%w+)')
local function run_id() return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') end
local function detect_jump(writes)
  if not epoch or not replid or replid == room[3] then return end
  local run = run_id()
  if run ~= redis.call('HGET', KEYS[1], 'i') then
    local lossless = '0'
    if not string.find(info, 'master_replid2:00000000') then lossless = '-1'
    elseif string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1') then lossless = '1' end
    local to
    if writes then to = redis.call('HINCRBY', KEYS[1], 'o', '1000000000') else to = tonumber(known or '0') + 1000000000 end
    jump = {known or '0', string.format('%d', to), lossless}
    known = jump[2]
    if writes then redis.call('HSET', KEYS[1], 'f', jump[1], 't', jump[2], 'w', jump[3]) end
  end
  if writes then redis.call('HSET', KEYS[1], 'l', replid, 'i', run) end
end
local function absent()
  local time = redis.call('TIME')
  local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
  local stats = replid and redis.pcall('INFO', 'stats')
  local evicted = type(stats) == 'string' and string.match(stats, 'evicted_keys:(%d+)')
  local identity = evicted and replid .. ':' .. evicted or now .. time[2]
  return 'f' .. string.sub(redis.sha1hex(identity), 1, 15), now
end
detect_jump(true)
if KEYS[3] then
  local before = redis.call('GET', KEYS[3])
  if before then
    local position, receivers = string.match(before, '^(%S+) (%d+)$')
    return {position, tonumber(receivers), 1}
  end
end
if not epoch then
  epoch = ARGV[6]
  local absent_epoch, now = absent()
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', '0', 'b', absent_epoch .. ':' .. now)
  if replid then redis.call('HSET', KEYS[1], 'l', replid, 'i', run_id()) end
end
local offset = string.format('%d', redis.call('HINCRBY', KEYS[1], 'o', 1))
local position = epoch .. ':' .. offset
local text = string.sub(ARGV[2], 1, -2) .. ',"position":"' .. position .. '"}'
local time = redis.call('TIME')
local published = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], offset .. '-0', 'd', text, 't', published)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
local receivers = redis.pcall(ARGV[7], ARGV[1], text)
if type(receivers) == 'table' then
  local missing = string.find(receivers.err, 'Unknown Redis command', 1, true)
  receivers = redis.call(missing and 'PUBLISH' or ARGV[7], ARGV[1], text)
end
if KEYS[3] then redis.call('SET', KEYS[3], position .. ' ' .. receivers, 'PX', ARGV[8]) end
return {position, receivers, 0}
