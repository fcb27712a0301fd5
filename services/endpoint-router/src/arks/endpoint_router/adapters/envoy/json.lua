-- Reading JSON. The first part of the gateway's filter; docs/architecture.md defines its protocol and its files.
--
-- The parts, json to admission, are one script, joined in the order of `ADMISSION_PARTS`.
-- All but the last are pure, and tested from Python through LuaJIT as the table `admission`.

local byte, find, format, gmatch, gsub = string.byte, string.find, string.format, string.gmatch, string.gsub
local lower, match, sub, concat = string.lower, string.match, string.sub, table.concat
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min

local QUOTE, BACKSLASH, COLON, COMMA = 34, 92, 58, 44
local OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93
local NOT_SPACE = "[^ \t\r\n]" -- JSON's white space; Lua's %s has more
local DEPTH_LIMIT = 200
local MEMBERS_LIMIT = 1000 -- of an object that is read by its keys
local NEAR_BYTES = 24

-- For an accepted body, this reader finds the same values of the wanted keys as every JSON parser, because both agree
-- on where each string and each nested value ends: strings end at the first quote that is not escaped, brackets pair
-- up by kind, and outside of strings there are only JSON's own characters (no comments, no single quotes, no byte
-- order mark, no UTF-16, no NUL). At the top level every key is plain ASCII without escapes, a wanted key occurs once
-- and in its own spelling (no `Stream`, no `maxTokens`, which a lenient parser may accept), and nothing follows the
-- object.
--
-- Not checked, because it cannot move those ends: escapes and characters inside strings, the order of commas and
-- colons inside nested values, spelling of numbers and names of values that are not wanted. The engine rejects those.

-- The kind of a byte outside of strings: 1 plain, 2 opens, 3 closes, 4 a quote, 0 not JSON (or the end).
local KIND, LITERAL = {}, {}
for c = 0, 255 do KIND[c] = 0 end
for c = 0, 127 do
  if find(string.char(c), "[%w+.:, \t\r\n-]") then KIND[c] = 1 end
  LITERAL[c] = find(string.char(c), "[%w+.-]") ~= nil
end
KIND[OPEN_BRACE], KIND[OPEN_BRACKET], KIND[CLOSE_BRACE], KIND[CLOSE_BRACKET], KIND[QUOTE] = 2, 2, 3, 3, 4

-- The position after the string that starts at `at`, or nil. Each byte is read at most twice: near ones in a loop,
-- which LuaJIT compiles, and those of a long string by a plain find.
local function after_string(s, at)
  local p = at + 1
  while true do
    local far = p + NEAR_BYTES
    while p < far do
      local c = byte(s, p)
      if c == QUOTE then return p + 1 end
      if not c then return nil end
      p = p + (c == BACKSLASH and 2 or 1)
    end
    local quote = find(s, '"', p, true)
    if not quote then return nil end
    local before = quote - 1
    while before >= p and byte(s, before) == BACKSLASH do before = before - 1 end
    if (quote - before) % 2 == 1 then return quote + 1 end
    p = quote + 1
  end
end

-- The position of the first byte from `p` that is not white space.
local function after_space(s, p)
  local c = byte(s, p)
  while c == 32 or c == 10 or c == 13 or c == 9 do
    p = p + 1
    c = byte(s, p)
  end
  return p
end

local stack = {} -- of after_nested, which does not call itself: the closing brackets that are due

-- The position after the object or array that starts at `at`, or nil. The loops are over bytes, because LuaJIT compiles
-- loops but not patterns: 2 us a KB of numbers instead of 13.
local function after_nested(s, at)
  local depth, p = 0, at
  while true do
    while KIND[byte(s, p) or 0] == 1 do p = p + 1 end
    local kind = KIND[byte(s, p) or 0]
    if kind == 4 then
      p = after_string(s, p)
      if not p then return nil end
    elseif kind == 2 and depth < DEPTH_LIMIT then
      depth = depth + 1
      stack[depth] = byte(s, p) + 2 -- the closing bracket of each kind is two after the opening one
      p = p + 1
    elseif kind == 3 and stack[depth] == byte(s, p) and depth > 0 then
      depth, p = depth - 1, p + 1
      if depth == 0 then return p end
    else
      return nil
    end
  end
end

-- The position after the number or name that starts at `at`, or nil.
local function after_literal(s, at)
  local p = at
  while LITERAL[byte(s, p) or 0] do p = p + 1 end
  return p > at and p or nil
end

local function after_value(s, at)
  local c = byte(s, at)
  if c == QUOTE then return after_string(s, at) end
  if c == OPEN_BRACE or c == OPEN_BRACKET then return after_nested(s, at) end
  return after_literal(s, at)
end

local REFUSED = {} -- stands for a key that must not be there
local INVALID = { message = "The request body is not a valid JSON object.", code = "invalid_json" }

-- Keys of OpenAI's API that need no look at their spelling, because requests have them all the time.
local USUAL = {}
for key in gmatch([[messages prompt input model stream stream_options max_tokens max_completion_tokens n stop user seed
  temperature top_p top_k frequency_penalty presence_penalty tools tool_choice response_format logprobs metadata usage
  choices include_usage prompt_tokens completion_tokens total_tokens id object created delta index
  prompt_tokens_details completion_tokens_details system_fingerprint]], "[%l_]+") do USUAL[key] = true end

-- The error of a key, or nil.
local function fault_of_key(key, wanted, starts)
  if starts[key] then return { message = "The key occurs twice.", param = key, code = "duplicate_key" } end
  if USUAL[key] then return nil end
  if find(key, "[^ -~]") or find(key, "\\", 1, true) then
    return { message = "Keys at the top level must be plain ASCII without escapes.", code = "invalid_json" }
  end
  local meant = wanted[key]
  if meant == REFUSED then return nil end -- its value decides
  if not meant and find(key, "[%u-]") then meant = wanted[gsub(lower(key), "[_-]", "")] end
  if meant and meant ~= key then
    return { message = "The key must be spelled as it is named here.", param = meant, code = "misspelled_key" }
  end
end

local function refused(key)
  return { message = "The gateway does not take this parameter.", param = key, code = "unsupported_parameter" }
end

-- Reads the object that starts at `at`: (starts, stops, closing) by wanted key and the position of its last brace, or
-- nil and the fault.
local function read_object(s, at, wanted)
  local starts, stops = {}, {}
  local p = after_space(s, at + 1)
  if byte(s, p) == CLOSE_BRACE then return starts, stops, p end
  for _ = 1, MEMBERS_LIMIT do
    local after = byte(s, p) == QUOTE and after_string(s, p)
    if not after then return nil, INVALID end
    local key = sub(s, p + 1, after - 2)
    local fault = fault_of_key(key, wanted, starts)
    if fault then return nil, fault end
    p = after_space(s, after)
    if byte(s, p) ~= COLON then return nil, INVALID end
    local value = after_space(s, p + 1)
    after = after_value(s, value)
    if not after then return nil, INVALID end
    local meant = wanted[key]
    if meant then
      if meant == REFUSED and sub(s, value, after - 1) ~= "null" then return nil, refused(key) end
      starts[key], stops[key] = value, after - 1
    end
    p = after_space(s, after)
    local c = byte(s, p)
    if c == CLOSE_BRACE then return starts, stops, p end
    if c ~= COMMA then return nil, INVALID end
    p = after_space(s, p + 1)
  end
  return nil, INVALID
end

-- Wanted keys by their own spelling, and by the spelling that a lenient parser may accept, without separators.
local function keys(...)
  local wanted = {}
  for _, key in ipairs({ ... }) do
    wanted[gsub(key, "_", "")] = key
    wanted[key] = key
  end
  return wanted
end
