---- The answer in JSON
--
-- `"usage"` followed by a colon cannot occur inside a JSON string, where its quotes would be escaped; so plain finds
-- are enough to detect it. A meter keeps the unfinished end of a chunk: {rest, usage, ...}.

local USAGE_BYTES = 4096 -- a usage object, or the event that carries only it, is shorter
local SUMMED_BYTES = 1048576 -- of an answer that holds several
local USAGE_KEYS = keys("prompt_tokens", "completion_tokens")

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

-- The larger of two usages in one answer: engines may copy objects of the request, which must not win.
local function larger(before, other)
  if not before then return other end
  local prompt, completion = match(before, "(%d+),(%d+)")
  local other_prompt, other_completion = match(other, "(%d+),(%d+)")
  return prompt + completion > other_prompt + other_completion and before or other
end

-- Follows a JSON answer.
local function meter_json(meter, chunk)
  local s = join(meter, chunk)
  local at, from = find_usage(s, 1), 1
  while at do
    local brace, usage, more = match(s, "^%s*:%s*(){", at + 7), nil, nil
    if brace then usage, more = read_usage(s, brace) else more = find(s, "^%s*:?%s*$", at + 7) ~= nil end
    if usage then
      meter.usage, from = larger(meter.usage, usage), more
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

-- Keeps an answer in JSON that has several, to sum them up at its end.
local function keep_json(meter, chunk)
  meter.bytes = meter.bytes + #chunk
  if meter.bytes <= SUMMED_BYTES then meter.chunks[#meter.chunks + 1] = chunk end
  meter_json(meter, chunk)
end

---- Several answers
--
-- llama.cpp reports the usage of the first answer only; others report the sum. What the other answers took is derived
-- from them: as many tokens as the first if both ended at the limit, else by the length of their text.

local total_usage
do
  local TOTAL_KEYS, TIMING_KEYS = keys("choices", "usage", "timings"), keys("predicted_n")
  local CHOICE_BYTES = 62 -- of a choice without text
  local USUAL_TOKENS, USUAL_BYTES = 8, 32 -- added to the first answer's, so that a short one does not decide alone

  -- Bytes of text of each answer in the list that starts at `at`, and whether it ended at its limit.
  local function read_choices(s, at)
    local choices, p = {}, after_space(s, at + 1)
    while byte(s, p) == OPEN_BRACE do
      local stop = after_nested(s, p)
      if not stop then break end
      local text = sub(s, p, stop - 1)
      local is_cut = find(text, '"finish_reason"%s*:%s*"length"') ~= nil
      choices[#choices + 1] = { bytes = max(0, #text - CHOICE_BYTES), is_cut = is_cut }
      p = after_space(s, stop)
      if byte(s, p) == COMMA then p = after_space(s, p + 1) end
    end
    return choices
  end

  local function sum_completion(choices, completion)
    local first, sum = choices[1], completion
    local tokens_a_byte = (completion + USUAL_TOKENS) / (first.bytes + USUAL_BYTES)
    for i = 2, #choices do
      local same = choices[i].is_cut and first.is_cut
      sum = sum + (same and completion or max(1, ceil(choices[i].bytes * tokens_a_byte)))
    end
    return sum
  end

  -- Whether the usage is that of the first answer: llama.cpp also reports the time that this took.
  local function is_of_first(s, timings, completion)
    local starts, stops = {}, nil
    if timings and byte(s, timings) == OPEN_BRACE then starts, stops = read_object(s, timings, TIMING_KEYS) end
    if not starts or not starts.predicted_n then return false end
    return tonumber(sub(s, starts.predicted_n, stops.predicted_n)) == completion
  end

  -- The usage of all answers in `s`, given that which is reported. The prompt counts once for `copies` answers to it;
  -- of several prompts only the first is counted by the engine, so at least the reservation is charged.
  function total_usage(s, usage, copies, reserved_prompt)
    local prompt, completion = match(usage, "^e,(%d+),(%d+)$")
    local brace = find(s, "{", 1, true)
    local starts = brace and read_object(s, brace, TOTAL_KEYS)
    if not completion or not starts or not starts.choices then return usage end
    if not is_of_first(s, starts.timings, tonumber(completion)) then return usage end
    local choices = read_choices(s, starts.choices)
    if #choices < 2 then return usage end
    if #choices > copies then prompt = max(tonumber(prompt), reserved_prompt) end
    return format("e,%.0f,%.0f", prompt, sum_completion(choices, tonumber(completion)))
  end
end
