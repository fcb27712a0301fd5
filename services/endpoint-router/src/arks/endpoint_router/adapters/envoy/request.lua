---- The request

local MODEL_BYTES = 256
local TOKENS_LIMIT = 10000000 -- more than any model's context
local CHOICES_LIMIT, LOGPROBS_LIMIT = 128, 20 -- OpenAI's own limits

local LIMIT_KEYS = { "max_completion_tokens", "max_tokens", "n_predict" }
local ANSWER_KEYS = { "n", "n_cmpl", "best_of" } -- engines make as many answers as the largest of them
local REQUEST_KEYS = keys(
  "model", "stream", "stream_options", "prompt", "messages", "input", "tools", "logprobs", "top_logprobs", "n", "n_cmpl", "best_of", unpack(LIMIT_KEYS)
)
for _, key in ipairs(USE_KEYS) do REQUEST_KEYS[key] = key end
for _, key in ipairs(RULE_KEYS) do REQUEST_KEYS[key] = key end -- in any other spelling they count as text
-- Keys by which a client would choose a replica's rank, slot, adapter, template or place in the queue, move its cache, or
-- hide usage: of SGLang, of vLLM and Dynamo, and of llama.cpp.
for key in gmatch([[
  bootstrap_host bootstrap_port bootstrap_room data_parallel_rank routed_dp_rank disagg_prefill_dp_rank rid lora_path
  session_params custom_logit_processor custom_params extra_key return_hidden_states return_routed_experts
  kv_transfer_params ec_transfer_params vllm_xargs request_id priority chat_template nvext
  id_slot lora response_fields]], "[%l_]+") do REQUEST_KEYS[key] = REFUSED end
local OPTION_KEYS = keys("include_usage")

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

-- The largest limit of all spellings: engines differ in which of them wins. Some read 0 as unlimited, so a request with
-- a 0 counts as one without a limit.
local function read_token_limit(s, starts, stops)
  local limit, unlimited
  for _, key in ipairs(LIMIT_KEYS) do
    local count, fault = read_count(literal(s, starts, stops, key), key, 0, TOKENS_LIMIT)
    if fault then return nil, fault end
    unlimited = unlimited or count == 0
    if count and (not limit or count > limit) then limit = count end
  end
  return not unlimited and limit or nil
end

local PROMPT_STARTS = { [QUOTE] = true, [OPEN_BRACKET] = true, [OPEN_BRACE] = true }

-- Whether the prompt at `p` has no token: an empty text or list, or llama.cpp's object with one.
local function is_empty_prompt(s, p)
  local c = byte(s, p)
  if c == QUOTE then return byte(s, p + 1) == QUOTE end
  if c == OPEN_BRACKET then return byte(s, after_space(s, p + 1)) == CLOSE_BRACKET end
  return c == OPEN_BRACE and find(sub(s, p, (after_nested(s, p) or p) - 1), '"prompt_string"%s*:%s*""') ~= nil
end

-- The number of prompts, and whether one of them is empty: each text in a list is one, each list of tokens, and each
-- object, which llama.cpp takes too.
local function read_prompts(s, at)
  if not at then return 1, false end
  local has_empty = is_empty_prompt(s, at)
  if byte(s, at) ~= OPEN_BRACKET then return 1, has_empty end
  local p, count = after_space(s, at + 1), 0
  while PROMPT_STARTS[byte(s, p)] do
    has_empty = has_empty or is_empty_prompt(s, p)
    count, p = count + 1, after_space(s, after_value(s, p) or #s)
    if byte(s, p) == COMMA then p = after_space(s, p + 1) end
  end
  return max(count, 1), has_empty
end

-- The number of answers to each prompt.
local function read_copies(s, starts, stops)
  local most = 1
  for _, key in ipairs(ANSWER_KEYS) do
    local count, fault = read_count(literal(s, starts, stops, key), key, 1, CHOICES_LIMIT)
    if fault then return nil, fault end
    most = max(most, count or 1)
  end
  return most
end

-- The number of answers to all prompts, and to each; nil and the fault of copies of an empty prompt: llama.cpp never
-- ends them, and loses a slot.
local function read_answers(s, starts, stops)
  local copies, fault = read_copies(s, starts, stops)
  if fault then return nil, fault end
  local prompts, has_empty = read_prompts(s, starts.prompt)
  if has_empty and copies > 1 then return invalid("prompt", "`prompt` must not be empty if it gets several answers.") end
  return copies * prompts, copies
end

-- The fault of values that OpenAI refuses and engines take, or nil.
local fault_of_values
do
  local NOT_EMPTY = { "messages", "input" }
  local WITHOUT_TOOLS = { ['"none"'] = true, ['"auto"'] = true }

  local function has_tools(s, at)
    return at and byte(s, at) == OPEN_BRACKET and byte(s, after_space(s, at + 1)) ~= CLOSE_BRACKET
  end

  function fault_of_values(s, starts, stops)
    for _, key in ipairs(NOT_EMPTY) do
      if starts[key] and is_empty_prompt(s, starts[key]) then
        return { message = format("`%s` must not be empty.", key), param = key, code = "empty_array" }
      end
    end
    local choice = literal(s, starts, stops, "tool_choice")
    if choice and not WITHOUT_TOOLS[choice] and not has_tools(s, starts.tools) then
      return { message = "`tool_choice` is for requests with `tools`.", param = "tool_choice", code = "invalid_value" }
    end
    local count, fault = read_count(literal(s, starts, stops, "top_logprobs"), "top_logprobs", 0, LOGPROBS_LIMIT)
    if fault or (count or 0) == 0 or literal(s, starts, stops, "logprobs") == "true" then return fault end
    return { message = "`top_logprobs` is for requests with `logprobs: true`.", param = "top_logprobs", code = "invalid_value" }
  end
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

-- Reads a request body: {model, stream, max_tokens, answers, copies, uses, bytes, body}; `bytes` are those of its text,
-- and `body` replaces the engine's body if usage must be requested. Or nil and {message, param, code}.
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
  local answers, copies = read_answers(s, starts, stops)
  if not answers then return nil, copies end
  if answers > 1 then request.answers, request.copies = answers, copies end
  request.bytes = text_bytes(s, starts, stops)
  if has_uses(starts) then request.uses = uses_of(s, starts, stops) end
  fault = fault_of_values(s, starts, stops)
  if fault then return nil, fault end
  if request.stream then
    request.body, fault = with_usage(s, starts, stops, closing)
    if fault then return nil, fault end
  elseif starts.stream_options and literal(s, starts, stops, "stream_options") then
    return invalid("stream_options", "`stream_options` is for requests with `stream: true`.")
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
