---- The answer
--
-- `"usage"` followed by a colon cannot occur inside a JSON string, where its quotes would be escaped; so plain finds
-- are enough to detect it. A meter keeps the unfinished end of a chunk: {rest, usage, ...}.

local NEWLINE = 10
local USAGE_BYTES = 4096 -- a usage object, or the event that carries only it, is shorter
local EVENT_BYTES = 1048576 -- bytes kept of an event that has not ended
local EVENT_KEYS, USAGE_KEYS = keys("usage", "choices"), keys("prompt_tokens", "completion_tokens")

-- The position of the next `"usage"`. A plain find stops at each first character, so it must be a rare one: with the
-- quote it takes four times as long.
local function find_usage(s, from)
  local at = find(s, 'usage"', from, true)
  while at and byte(s, at - 1) ~= QUOTE do at = find(s, 'usage"', at + 6, true) end
  return at and at - 1
end

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

-- The bytes to search: chunks are long, so they are joined only if a usage object lies across their border.
local function join(meter, chunk)
  local rest = meter.rest
  if rest == "" then return chunk end
  if #rest <= 6 and #chunk > 6 and not find(rest .. sub(chunk, 1, 6), '"usage"', 1, true) then return chunk end
  return rest .. chunk
end

-- Follows a JSON answer; the last usage in it counts.
local function meter_json(meter, chunk)
  local s = join(meter, chunk)
  local at, from = find_usage(s, 1), 1
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
    at = find_usage(s, from)
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

-- The position of the next `"usage"` that has an object: engines also send null.
local function next_usage(s, from)
  local at = find_usage(s, from)
  while at and byte(s, at + 8) ~= OPEN_BRACE and not find(s, "^%s*:%s*{", at + 7) do at = find_usage(s, at + 7) end
  return at
end

-- The usage in an event, and whether the event has no choices and so nothing else. Its JSON is read only if it may
-- contain usage.
local function read_usage_event(event)
  if not next_usage(event, 1) then return nil end
  local starts = read_object(event, find(event, "{", 1, true), EVENT_KEYS)
  if not starts or not starts.usage then return nil end
  return (read_usage(event, starts.usage)), starts.choices ~= nil and find(event, "^%[%s*%]", starts.choices) ~= nil
end

-- Several answers in one stream: vLLM and SGLang report their total in one event without choices. llama.cpp reports each
-- answer by itself: in an event without choices (chat), or in the last event of the answer's index (completions), where
-- vLLM's continuous usage counts up. So both kinds are added up, and the larger sum counts; the prompt counts once for
-- `copies` answers to it. Answers without usage yet count by their events.
local function add_usage(meter, event, usage, alone)
  local prompt, completion = match(usage, "(%d+),(%d+)")
  local sum = alone and meter.alone or meter.by_index
  local key = alone and #sum + 1 or tonumber(match(event, '"index"%s*:%s*(%d+)') or 0)
  local before = sum[key] or { prompt = 0, completion = 0 }
  sum[key] = { prompt = tonumber(prompt), completion = tonumber(completion) }
  sum.prompt = sum.prompt + sum[key].prompt - before.prompt
  sum.completion = sum.completion + sum[key].completion - before.completion
end

-- Sets the usage of several answers from what is known.
local function set_total(meter)
  local alone, by_index = meter.alone, meter.by_index
  local sum = alone.completion >= by_index.completion and alone or by_index
  if sum.completion == 0 then
    meter.usage = meter.events > 0 and "d," .. meter.events or meter.usage
    return
  end
  local copies = sum == alone and #alone == 1 and 1 or meter.copies
  local completion = max(sum.completion, meter.events)
  meter.usage = format("e,%.0f,%.0f", ceil(sum.prompt / copies), completion)
end

-- Takes the usage of an event; `alone`: the event has nothing else. What one answer reports last counts.
local function take_usage(meter, event, usage, alone)
  if meter.copies then return add_usage(meter, event, usage, alone) end
  meter.usage, meter.usage_seen = usage, true
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

-- Counts the events with content among those that end in `s`, the first at or after `at`.
local function count_events(meter, s, at)
  local from, last, events = 1, event_end(s, at, meter.crlf), meter.events
  local content = find(s, 'content":"', 1, true) -- with any prefix: all such keys hold generated text
  while last do
    if content and content < from then content = find(s, 'content":"', from, true) end
    local is_plain = content and content < last and byte(s, content + 10) ~= QUOTE
    if is_plain or has_content(sub(s, from, last)) then events = events + 1 end
    from = last + 1
    last = event_end(s, from, meter.crlf)
  end
  if events > meter.events then meter.events, meter.usage = events, "d," .. events end
end

-- Reads the usage in the events that end in `s`. Returns the position after them, and with `meter.cut` the pieces of
-- `s` from `pass_from` on without usage events: nil if there is none.
local function read_events(meter, s, at, pass_from)
  local from, last, pieces = 1, event_end(s, at, meter.crlf), nil
  local usage_at = find_usage(s, 1)
  while last do
    if usage_at and usage_at < last then
      local event = sub(s, from, last)
      local usage, alone = read_usage_event(event)
      if usage then take_usage(meter, event, usage, alone) end
      if alone and usage and meter.cut and pass_from <= from then
        pieces = pieces or {}
        pieces[#pieces + 1] = sub(s, pass_from, from - 1)
        pass_from = last + 1
      end
      usage_at = find_usage(s, last + 1)
    end
    from = last + 1
    last = event_end(s, from, meter.crlf)
  end
  return from, pieces, pass_from
end

-- Meters whole events that are not cut; `usage_at` is that of the first usage in them. Usage is read from its line
-- alone, so that the events before it cost nothing.
local function meter_whole(meter, s, usage_at)
  local from = usage_at
  while from do
    local first = from
    while first > 1 and byte(s, first - 1) ~= NEWLINE do first = first - 1 end
    local last = find(s, "\n", from, true)
    local event = sub(s, first, last)
    local usage, alone = read_usage_event(event)
    if usage then take_usage(meter, event, usage, alone) end
    from = next_usage(s, last)
  end
  if not meter.usage_seen then count_events(meter, s, 1) end
end

-- Meters an event that has not ended.
local function read_unfinished(meter, event)
  local usage, alone = read_usage_event(event)
  if usage then
    take_usage(meter, event, usage, alone)
  elseif not meter.usage_seen and has_content(event) then
    meter.events = meter.events + 1
    meter.usage = "d," .. meter.events
  end
end

-- Follows a stream of events: its usage, or the number of events with content while there is none. With `meter.cut` the
-- usage event is removed: the result replaces the chunk, or is nil if the chunk does not change. Only bytes that may
-- belong to the usage event are held back; they are the last `#rest - sent` of `rest`.
local function meter_stream(meter, chunk)
  local rest, sent = meter.rest, meter.sent
  if find(chunk, "\r", 1, true) then meter.crlf = true end
  if rest == "" and not meter.crlf and sub(chunk, -2) == "\n\n" then
    local usage_at = next_usage(chunk, 1)
    if not usage_at or not meter.cut then return meter_whole(meter, chunk, usage_at) end
  end
  local s = rest == "" and chunk or rest .. chunk
  local at = #rest > 1 and #rest - 1 or 1
  local from, pieces, pass_from = read_events(meter, s, at, sent + 1)
  if not meter.usage_seen then count_events(meter, s, at) end
  local tail = sub(s, from)
  local held = meter.cut and may_be_usage_event(tail) and #tail or 0
  if #tail > EVENT_BYTES then
    read_unfinished(meter, tail)
    tail = sub(tail, -3)
  end
  meter.rest, meter.sent = tail, #tail - held
  if not pieces and held == 0 and sent == #rest then return nil end
  return (pieces and concat(pieces) or "") .. sub(s, pass_from, #s - held)
end

local function meter_answers(meter, chunk)
  local replacement = meter_stream(meter, chunk)
  set_total(meter)
  return replacement
end

-- `copies`: the number of answers to one prompt of a stream, if it has several answers, else nil.
local function new_meter(is_stream, cut, copies)
  local meter = { rest = "", sent = 0, events = 0, cut = is_stream and cut, feed = is_stream and meter_stream or meter_json }
  if is_stream and copies then
    meter.copies, meter.feed = copies, meter_answers
    meter.alone, meter.by_index = { prompt = 0, completion = 0 }, { prompt = 0, completion = 0 }
  end
  return meter
end

-- A stream may end without its last empty line.
local function finish(meter)
  if meter.feed == meter_json or meter.rest == "" then return end
  read_unfinished(meter, meter.rest)
  if meter.copies then set_total(meter) end
end
