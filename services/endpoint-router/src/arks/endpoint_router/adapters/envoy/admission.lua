-- The gateway's only filter: it reads the request, gets a grant from token-quota, sets the cluster, and meters the
-- answer. The upper part is pure and tested from Python through LuaJIT, as the table `admission`; the lower part calls
-- Envoy. docs/architecture.md defines the protocol and the usage log's columns. If this script fails, Envoy continues
-- the request: it has no `x-arks-cluster`, which is set last, and the routes answer 503.

local byte, find, format, gmatch, gsub = string.byte, string.find, string.format, string.gmatch, string.gsub
local lower, match, sub, concat = string.lower, string.match, string.sub, table.concat

local QUOTE, BACKSLASH, COLON, COMMA = 34, 92, 58, 44
local OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93
local NOT_SPACE = "[^ \t\r\n]" -- JSON's white space; Lua's %s has more

local OPERATIONS = { ["/v1/chat/completions"] = "chat.completions", ["/v1/completions"] = "completions" }
OPERATIONS["/v1/embeddings"] = "embeddings"
local LIMIT_HEADERS = {
  "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
  "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
}
local ADMISSION_MILLISECONDS, MODEL_BYTES = 2000, 256
local TOKENS_LIMIT = 10000000 -- more than any model's context
local CHOICES_LIMIT = 128 -- OpenAI's own limit of n
local DEPTH_LIMIT = 200
local USAGE_BYTES = 4096 -- a usage object, or the event that carries only it, is shorter
local EVENT_BYTES = 1048576 -- bytes kept of an event that has not ended

---- Reading JSON
--
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
local KIND = {}
for c = 0, 255 do KIND[c] = 0 end
for c = 0, 127 do
  if find(string.char(c), "[%w+.:, \t\r\n-]") then KIND[c] = 1 end
end
KIND[OPEN_BRACE], KIND[OPEN_BRACKET], KIND[CLOSE_BRACE], KIND[CLOSE_BRACKET], KIND[QUOTE] = 2, 2, 3, 3, 4

-- The position after the string that starts at `at`, or nil.
local function after_string(s, at)
  local from = at + 1
  while true do
    local quote = find(s, '"', from, true)
    if not quote then return nil end
    local before = quote - 1
    while byte(s, before) == BACKSLASH do before = before - 1 end
    if (quote - before) % 2 == 1 then return quote + 1 end
    from = quote + 1
  end
end

-- The position after the object or array that starts at `at`, or nil. The inner loop iterates over bytes, because
-- LuaJIT compiles loops but not patterns: 2 us a KB of numbers instead of 13.
local function after_nested(s, at)
  local stack, depth, p = {}, 0, at
  while true do
    while KIND[byte(s, p) or 0] == 1 do p = p + 1 end
    local c = byte(s, p)
    local kind = KIND[c or 0]
    if kind == 4 then
      p = after_string(s, p)
      if not p then return nil end
    elseif kind == 2 and depth < DEPTH_LIMIT then
      depth, p = depth + 1, p + 1
      stack[depth] = c + 2 -- the closing bracket of each kind is two after the opening one
    elseif kind == 3 and stack[depth] == c then
      depth, p = depth - 1, p + 1
      if depth == 0 then return p end
    else
      return nil
    end
  end
end

local function after_value(s, at)
  local c = byte(s, at)
  if c == QUOTE then return after_string(s, at) end
  if c == OPEN_BRACE or c == OPEN_BRACKET then return after_nested(s, at) end
  local _, last = find(s, "^[%w.+-]+", at)
  return last and last + 1
end

local INVALID = { message = "The request body is not a valid JSON object.", code = "invalid_json" }

-- The error of a key, or nil.
local function fault_of_key(key, wanted, starts)
  if find(key, "[^ -~]") or find(key, "\\", 1, true) then
    return { message = "Keys at the top level must be plain ASCII without escapes.", code = "invalid_json" }
  end
  if starts[key] then return { message = "The key occurs twice.", param = key, code = "duplicate_key" } end
  local meant = wanted[key]
  if not meant and find(key, "[%u-]") then meant = wanted[gsub(lower(key), "[_-]", "")] end
  if meant and meant ~= key then
    return { message = "The key must be spelled as it is named here.", param = meant, code = "misspelled_key" }
  end
end

-- Reads the object that starts at `at`: (starts, stops, closing) by wanted key and the position of its last brace, or
-- nil and the fault.
local function read_object(s, at, wanted)
  local starts, stops = {}, {}
  local p = find(s, NOT_SPACE, at + 1)
  if p and byte(s, p) == CLOSE_BRACE then return starts, stops, p end
  while p and byte(s, p) == QUOTE do
    local after = after_string(s, p)
    if not after then return nil, INVALID end
    local key = sub(s, p + 1, after - 2)
    local fault = fault_of_key(key, wanted, starts)
    if fault then return nil, fault end
    p = find(s, NOT_SPACE, after)
    if not p or byte(s, p) ~= COLON then return nil, INVALID end
    local value = find(s, NOT_SPACE, p + 1)
    after = value and after_value(s, value)
    if not after then return nil, INVALID end
    if wanted[key] then starts[key], stops[key] = value, after - 1 end
    p = find(s, NOT_SPACE, after)
    local c = p and byte(s, p)
    if c == CLOSE_BRACE then return starts, stops, p end
    if c ~= COMMA then return nil, INVALID end
    p = find(s, NOT_SPACE, p + 1)
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

local LIMIT_KEYS = { "max_completion_tokens", "max_tokens", "n_predict" }
local REQUEST_KEYS = keys("model", "stream", "stream_options", "n", unpack(LIMIT_KEYS))
local OPTION_KEYS, EVENT_KEYS = keys("include_usage"), keys("usage", "choices")
local USAGE_KEYS = keys("prompt_tokens", "completion_tokens")

---- The request

-- Returns nil and the fault, for functions that return a value.
local function invalid(param, message)
  return nil, { message = message, param = param, code = "invalid_value" }
end

-- The literal value of a wanted key, or nil; null counts as absent, as in OpenAI's API.
local function literal(s, starts, stops, key)
  local text = starts[key] and sub(s, starts[key], stops[key])
  return text ~= "null" and text or nil
end

local function read_count(text, key, least, most)
  if not text then return nil end
  local count = match(text, "^%d+$") and #text <= 8 and tonumber(text)
  if not count or count < least or count > most or (byte(text) == 48 and #text > 1) then
    return invalid(key, format("`%s` must be a whole number from %d to %d.", key, least, most))
  end
  return count
end

-- The largest limit of all spellings: engines differ in which of them wins.
local function read_token_limit(s, starts, stops)
  local limit
  for _, key in ipairs(LIMIT_KEYS) do
    local count, fault = read_count(literal(s, starts, stops, key), key, 0, TOKENS_LIMIT)
    if fault then return nil, fault end
    if count and (not limit or count > limit) then limit = count end
  end
  return limit
end

local function read_model(text)
  if not text or byte(text) ~= QUOTE then return invalid("model", "`model` must be given, as a string.") end
  local model = sub(text, 2, -2)
  if model == "" or #model > MODEL_BYTES or find(model, "[%c\\]") then
    return invalid("model", format("`model` must have 1 to %d bytes, without escapes.", MODEL_BYTES))
  end
  return model
end

-- The body with a request for usage, or nil if the client requested it. `closing` is the position of the body's last
-- brace.
local function with_usage(s, starts, stops, closing)
  local from, to = starts.stream_options, stops.stream_options
  if not from then return sub(s, 1, closing - 1) .. ',"stream_options":{"include_usage":true}' .. sub(s, closing) end
  if sub(s, from, to) == "null" then return sub(s, 1, from - 1) .. '{"include_usage":true}' .. sub(s, to + 1) end
  local options, ends, last
  if byte(s, from) == OPEN_BRACE then options, ends, last = read_object(s, from, OPTION_KEYS) end
  if not options then return invalid("stream_options", "`stream_options` must be a valid object.") end
  if not options.include_usage then
    local separator = find(s, NOT_SPACE, from + 1) == last and "" or ","
    return sub(s, 1, from) .. '"include_usage":true' .. separator .. sub(s, from + 1)
  end
  local requested = sub(s, options.include_usage, ends.include_usage)
  if requested == "true" then return nil end
  if requested ~= "false" and requested ~= "null" then
    return invalid("stream_options", "`stream_options.include_usage` must be true or false.")
  end
  return sub(s, 1, options.include_usage - 1) .. "true" .. sub(s, ends.include_usage + 1)
end

-- Reads a request body: {model, stream, max_tokens, n, body}, where `body` replaces the engine's body if usage must be
-- requested; or nil and {message, param, code}.
local function read_request(s)
  local at = find(s, NOT_SPACE)
  if not at or byte(s, at) ~= OPEN_BRACE then return nil, INVALID end
  local starts, stops, closing = read_object(s, at, REQUEST_KEYS)
  if not starts then return nil, stops end
  if find(s, NOT_SPACE, closing + 1) or find(s, "\0", 1, true) then return nil, INVALID end
  local request, fault = {}, nil
  request.model, fault = read_model(literal(s, starts, stops, "model"))
  if fault then return nil, fault end
  local stream = literal(s, starts, stops, "stream") or "false"
  if stream ~= "true" and stream ~= "false" then return invalid("stream", "`stream` must be true or false.") end
  request.stream = stream == "true"
  request.max_tokens, fault = read_token_limit(s, starts, stops)
  if fault then return nil, fault end
  request.n, fault = read_count(literal(s, starts, stops, "n"), "n", 1, CHOICES_LIMIT)
  if fault then return nil, fault end
  if request.stream then
    request.body, fault = with_usage(s, starts, stops, closing)
    if fault then return nil, fault end
  end
  return request
end

-- Bytes outside of `!` to `~`, and `%`, as %XX.
local function percent_encode(text)
  return (gsub(text, "[^!-$&-~]", function(c) return format("%%%02X", byte(c)) end))
end

-- OpenAI's error envelope. Messages and params are constants of this file, so nothing needs escaping.
local function envelope(fault)
  local param = fault.param and '"' .. fault.param .. '"' or "null"
  local kind = fault.type or "invalid_request_error"
  return format('{"error":{"message":"%s","type":"%s","param":%s,"code":"%s"}}', fault.message, kind, param, fault.code)
end

---- The answer
--
-- `"usage"` followed by a colon cannot occur inside a JSON string, where its quotes would be escaped; so plain finds
-- are enough to detect it. A meter keeps the unfinished end of a chunk: {rest, usage, ...}.

-- "e,<prompt>,<completion>" of the usage object that starts at `brace`, and the position after it; or nil and whether
-- the object is unfinished.
local function read_usage(s, brace)
  local starts, stops, closing = read_object(s, brace, USAGE_KEYS)
  if not starts then return nil, after_nested(s, brace) == nil end
  local prompt = match(sub(s, starts.prompt_tokens or 1, stops.prompt_tokens or 0), "^%d+$")
  local completion = match(sub(s, starts.completion_tokens or 1, stops.completion_tokens or 0), "^%d+$")
  if not prompt then return nil, false end
  return "e," .. prompt .. "," .. (completion or "0"), closing + 1 -- embeddings have no completion
end

-- Follows a JSON answer; the last usage in it counts.
local function meter_json(meter, chunk)
  local s = meter.rest .. chunk
  local at, from = find(s, '"usage"', 1, true), 1
  while at do
    local brace, usage, more = match(s, "^%s*:%s*(){", at + 7), nil, nil
    if brace then usage, more = read_usage(s, brace) else more = find(s, "^%s*:?%s*$", at + 7) ~= nil end
    if usage then
      meter.usage, from = usage, more
    elseif more and #s - at < USAGE_BYTES then
      meter.rest = sub(s, at)
      return
    else
      from = at + 7
    end
    at = find(s, '"usage"', from, true)
  end
  meter.rest = sub(s, from > #s - 6 and from or -6) -- `"usage"` may have begun here
end

-- Keys of generated text in a delta (chat) or choice (completions). Reasoning has two names.
local TEXT_KEYS = { '"content"', '"text"', '"reasoning_content"', '"reasoning"', '"refusal"', '"arguments"' }

-- Whether an event has generated content. The first event, with the role, and the last, with the reason to stop, have
-- none.
local function has_content(event)
  local _, last = find(event, '"content":"', 1, true)
  if last and byte(event, last + 1) ~= QUOTE then return true end
  for i = 1, #TEXT_KEYS do
    local _, key = find(event, TEXT_KEYS[i], 1, true)
    while key do
      if find(event, '^%s*:%s*"[^"]', key + 1) then return true end
      _, key = find(event, TEXT_KEYS[i], key + 1, true)
    end
  end
  local _, key = find(event, '"tool_calls"', 1, true)
  return key ~= nil and find(event, "^%s*:%s*%[%s*{", key + 1) ~= nil
end

-- The usage in an event, and whether the event has no choices and so nothing else. Its JSON is read only if it may
-- contain usage.
local function read_usage_event(event)
  local at = find(event, '"usage"', 1, true)
  while at and not find(event, "^%s*:%s*{", at + 7) do at = find(event, '"usage"', at + 7, true) end
  if not at then return nil end
  local starts = read_object(event, find(event, "{", 1, true), EVENT_KEYS)
  if not starts or not starts.usage then return nil end
  return (read_usage(event, starts.usage)), starts.choices ~= nil and find(event, "^%[%s*%]", starts.choices) ~= nil
end

-- Counts one event. True when it is the usage event.
local function meter_event(meter, event)
  local usage, alone = read_usage_event(event)
  if usage then
    meter.usage, meter.usage_seen = usage, true
    return alone
  end
  if has_content(event) then
    meter.events = meter.events + 1
    if not meter.usage_seen then meter.usage = "d," .. meter.events end
  end
  return false
end

-- Whether an event that has not ended yet may turn out to be the usage event.
local function may_be_usage_event(rest)
  local size = #rest
  if size > USAGE_BYTES or sub("data:", 1, size) ~= sub(rest, 1, 5) then return false end
  if find(rest, "^ *[^ {]", 6) then return false end
  local _, choices = find(rest, '"choices"', 1, true)
  return not (choices and find(rest, "^%s*:%s*%[%s*[^%s%]]", choices + 1))
end

-- The last byte of the event at or after `from`: that of its empty line.
local function event_end(s, from, crlf)
  local _, last = find(s, crlf and "\n\r?\n" or "\n\n", from, not crlf)
  return last
end

-- Follows a stream of events. With `meter.cut` the usage event is removed: the result replaces the chunk, or is nil if
-- the chunk does not change. Only bytes that may belong to the usage event are held back; they are the last
-- `#rest - sent` of `rest`.
local function meter_stream(meter, chunk)
  local rest, sent = meter.rest, meter.sent
  local s = rest == "" and chunk or rest .. chunk
  if find(chunk, "\r", 1, true) then meter.crlf = true end
  local from, pass_from, pieces = 1, sent + 1, nil
  local last = event_end(s, #rest > 1 and #rest - 1 or 1, meter.crlf)
  while last do
    local usage_event = meter_event(meter, sub(s, from, last))
    if usage_event and meter.cut and pass_from <= from then
      pieces = pieces or {}
      pieces[#pieces + 1] = sub(s, pass_from, from - 1)
      pass_from = last + 1
    end
    from = last + 1
    last = event_end(s, from, meter.crlf)
  end
  local tail = sub(s, from)
  local held = meter.cut and may_be_usage_event(tail) and #tail or 0
  if #tail > EVENT_BYTES then
    meter_event(meter, tail)
    tail = sub(tail, -3)
  end
  meter.rest, meter.sent = tail, #tail - held
  if not pieces and held == 0 and sent == #rest then return nil end
  return (pieces and concat(pieces) or "") .. sub(s, pass_from, #s - held)
end

local function new_meter(is_stream, cut)
  return { rest = "", sent = 0, events = 0, cut = is_stream and cut, feed = is_stream and meter_stream or meter_json }
end

-- A stream may end without its last empty line.
local function finish(meter)
  if meter.feed == meter_stream and meter.rest ~= "" then meter_event(meter, meter.rest) end
end

-- State of the request that the answer needs, as one string: whether to cut, then the limits, a line each.
local function pack_answer(cut, headers)
  local lines = { cut and "cut" or "pass" }
  for i = 1, #LIMIT_HEADERS do lines[i + 1] = headers[LIMIT_HEADERS[i]] or "" end
  return concat(lines, "\n")
end

admission = {
  envelope = envelope,
  finish = finish,
  new_meter = new_meter,
  percent_encode = percent_encode,
  read_request = read_request,
}

---- Calls of Envoy. Its objects (headers, body, metadata) are invalid after every wait (body, httpCall, a chunk).

local NO_KEY = { message = "Give your key in the header `Authorization: Bearer <key>`.", code = "invalid_api_key" }
local TRY_AGAIN = "Requests cannot be admitted now. Try again."
local UNAVAILABLE = { message = TRY_AGAIN, type = "server_error", code = "admission_unavailable" }

-- Answers the client. The header keeps Envoy from replacing the body by its own.
local function respond(h, headers, text)
  h:headers():replace("x-arks-answered", "1")
  h:respond(headers, text)
end

local function reject(h, status, fault, name, value)
  local headers = { [":status"] = status, ["content-type"] = "application/json", [name or "x-arks"] = value }
  respond(h, headers, envelope(fault))
end

-- Headers of token-quota's rejection that the client gets.
local FOR_CLIENT = { ["content-type"] = true, ["retry-after"] = true, ["www-authenticate"] = true }
local function is_for_client(name)
  return FOR_CLIENT[name] or sub(name, 1, 12) == "x-ratelimit-" or sub(name, 1, 8) == "x-error-"
end

local function pass_on(h, answer, text)
  local status = tonumber(answer[":status"])
  local is_json = sub(answer["content-type"] or "", 1, 16) == "application/json"
  if not is_json or not find(text or "", '^%s*{%s*"error"') or not status or status < 400 then
    return reject(h, "503", UNAVAILABLE, "retry-after", "1")
  end
  local headers = { [":status"] = answer[":status"] }
  for name, value in pairs(answer) do
    if is_for_client(name) then headers[name] = value end
  end
  respond(h, headers, text)
end

-- A grant may cover several requests; using it for one is always correct, and token-quota grants one at present.
local function query_admission(h, authorization, request_id, operation, request, body_bytes)
  return h:httpCall("token-quota", {
    [":method"] = "POST",
    [":path"] = "/v1/admit",
    [":authority"] = "token-quota",
    ["authorization"] = authorization,
    ["x-arks-request-id"] = request_id,
    ["x-arks-model"] = percent_encode(request.model),
    ["x-arks-operation"] = operation,
    ["x-arks-body-bytes"] = tostring(body_bytes),
    ["x-arks-max-tokens"] = request.max_tokens and tostring(request.max_tokens),
    ["x-arks-n"] = request.n and tostring(request.n),
    ["x-arks-stream"] = request.stream and "1" or "0",
  }, "", ADMISSION_MILLISECONDS)
end

function envoy_on_request(h)
  local headers = h:headers()
  local operation = OPERATIONS[match(headers:get(":path") or "", "^[^?#]*")]
  if not operation or headers:get(":method") ~= "POST" then return end
  local authorization, request_id = headers:get("authorization"), headers:get("x-request-id")
  if not authorization or not find(authorization, "^[Bb][Ee][Aa][Rr][Ee][Rr] +[!-~]+$") then
    return reject(h, "401", NO_KEY, "www-authenticate", "Bearer")
  end
  local body = h:body(true)
  local request, fault = read_request(body:getBytes(0, body:length()))
  if not request then return reject(h, "400", fault) end
  local answer, text = query_admission(h, authorization, request_id, operation, request, body:length())
  if answer[":status"] ~= "200" then return pass_on(h, answer, text) end
  local cluster, grant = answer["x-arks-cluster"], answer["x-arks-grant"]
  if not cluster or not grant or not find(grant, "^%C+/%d+/%d+$") then
    return reject(h, "503", UNAVAILABLE, "retry-after", "1")
  end
  local metadata = h:streamInfo():dynamicMetadata()
  metadata:set("arks", "grant", operation .. "\t" .. (request.stream and "1" or "0") .. "\t" .. grant)
  metadata:set("arks", "answer", pack_answer(request.body ~= nil, answer))
  headers = h:headers()
  if request.body then headers:replace("content-length", tostring(h:body(true):setBytes(request.body))) end
  headers:replace("x-arks-cluster", cluster)
  h:clearRouteCache()
end

function envoy_on_response(h)
  local metadata = h:streamInfo():dynamicMetadata():get("arks")
  if not metadata then return end
  local headers = h:headers()
  local cut = sub(metadata.answer, 1, 3) == "cut"
  local number = 0
  for value in gmatch(metadata.answer, "\n([^\n]*)") do
    number = number + 1
    if value ~= "" then headers:replace(LIMIT_HEADERS[number], value) end
  end
  local is_stream = find(headers:get("content-type") or "", "text/event-stream", 1, true) == 1
  local meter = new_meter(is_stream, cut)
  if meter.cut then headers:remove("content-length") end
  local known
  for chunk in h:bodyChunks() do
    local replacement = meter:feed(chunk:getBytes(0, chunk:length()))
    if replacement then chunk:setBytes(replacement) end
    if meter.usage ~= known then
      known = meter.usage
      h:streamInfo():dynamicMetadata():set("arks", "usage", known)
    end
  end
  finish(meter)
  if meter.usage ~= known then h:streamInfo():dynamicMetadata():set("arks", "usage", meter.usage) end
end
