-- Removes events from the journal: those that were delivered, and those that are given up, which become dead letters.
--
-- ARGV    dead letters that are kept, number of events that were delivered, their ids; then two for each event that is given up:
--         its id and the reason
-- Returns the number of dead letters that were dropped
local delivered = tonumber(ARGV[2])
for index = 3, delivered + 2 do
  local entry = find(KEYS[1], ARGV[index])
  if entry then remove(entry) end
end
for index = delivered + 3, #ARGV, 2 do
  local entry = find(KEYS[1], ARGV[index])
  if entry then
    redis.call('XADD', KEYS[4], '*', 'e', entry[2][2], 'r', ARGV[index + 1])
    remove(entry)
  end
end
local too_many = redis.call('XLEN', KEYS[4]) - tonumber(ARGV[1])
if too_many <= 0 then return 0 end
return redis.call('XTRIM', KEYS[4], 'MAXLEN', ARGV[1])
