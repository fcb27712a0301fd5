---- The answer as a stream, and the meter of both kinds

local new_meter, finish
do
  local NEWLINE = 10
  local EVENT_BYTES = 1048576 -- bytes kept of an event that has not ended
  local EVENT_KEYS = keys("usage", "choices")

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

  -- The first and last byte of a member with the comma that it needs, given those of its value. Its key is `"usage"`.
  local function usage_member(event, value, last)
    local key = value - 1
    while byte(event, key) ~= QUOTE do key = key - 1 end
    local before = key - 7
    while find(event, "^%s", before) do before = before - 1 end
    if byte(event, before) == COMMA then return before, last end
    local after = after_space(event, last + 1)
    return key - 6, byte(event, after) == COMMA and after or last
  end

  -- The usage in an event, whether the event has no choices and so nothing else, and first and last byte of its member.
  -- Its JSON is read only if it may contain usage.
  local function read_usage_event(event)
    if not next_usage(event, 1) then return nil end
    local starts, stops = read_object(event, find(event, "{", 1, true), EVENT_KEYS)
    if not starts or not starts.usage then return nil end
    local usage, alone = read_usage(event, starts.usage), starts.choices and find(event, "^%[%s*%]", starts.choices)
    return usage, alone ~= nil, usage_member(event, starts.usage, stops.usage)
  end

  -- Several answers in one stream: vLLM and SGLang report their total in one event without choices. llama.cpp reports
  -- each answer by itself: in an event without choices (chat), or in the last event of the answer's index
  -- (completions), where vLLM's continuous usage counts up. So both kinds are added up, and the larger sum counts; the
  -- prompt counts once for `copies` answers to it. Answers without usage yet count by their events.
  local function add_usage(meter, event, usage, alone)
    local prompt, completion = match(usage, "(%d+),(%d+)")
    local sum = alone and meter.alone or meter.by_index
    local key = alone and #sum + 1 or tonumber(match(event, '"index"%s*:%s*(%d+)') or 0)
    local before = sum[key] or { prompt = 0, completion = 0 }
    if not sum[key] then sum.reports = sum.reports + 1 end
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
    local copies = min(sum.reports, meter.copies)
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
  -- `s` from `pass_from` on without usage events, and without the usage that llama.cpp adds to the last choice: nil if
  -- there is none.
  local function read_events(meter, s, at, pass_from)
    local from, last, pieces = 1, event_end(s, at, meter.crlf), nil
    local usage_at = find_usage(s, 1)
    while last do
      if usage_at and usage_at < last then
        local event = sub(s, from, last)
        local usage, alone, member, member_stop = read_usage_event(event)
        if usage then take_usage(meter, event, usage, alone) end
        local cut_at = alone and from or from - 1 + (member or 0)
        if usage and meter.cut and pass_from <= cut_at then
          pieces = pieces or {}
          pieces[#pieces + 1] = sub(s, pass_from, cut_at - 1)
          pass_from = alone and last + 1 or from + member_stop
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

  -- Follows a stream of events: its usage, or the number of events with content while there is none. With `meter.cut`
  -- the usage event is removed: the result replaces the chunk, or is nil if the chunk does not change. Only bytes that
  -- may belong to the usage event are held back; they are the last `#rest - sent` of `rest`.
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

  -- `copies`: the number of answers to one prompt, if there are several answers, else nil. `reserved_prompt` is needed
  -- with it.
  function new_meter(is_stream, cut, copies, reserved_prompt)
    local feed = is_stream and meter_stream or meter_json
    local meter = { rest = "", sent = 0, events = 0, cut = is_stream and cut, feed = feed }
    if not copies then return meter end
    meter.copies, meter.reserved_prompt = copies, reserved_prompt
    if is_stream then
      meter.feed = meter_answers
      meter.alone = { reports = 0, prompt = 0, completion = 0 }
      meter.by_index = { reports = 0, prompt = 0, completion = 0 }
    else
      meter.feed, meter.chunks, meter.bytes = keep_json, {}, 0
    end
    return meter
  end

  -- At the end of an answer. A stream may end without its last empty line.
  function finish(meter)
    if meter.feed == keep_json and meter.usage then
      meter.usage = total_usage(concat(meter.chunks), meter.usage, meter.copies, meter.reserved_prompt)
    end
    if meter.feed == meter_json or meter.feed == keep_json or meter.rest == "" then return end
    read_unfinished(meter, meter.rest)
    if meter.copies then set_total(meter) end
  end
end
