---- Errors of engines
--
-- Engines differ in the shape, status and code of their errors. The client gets OpenAI's: faults of its request are 4xx,
-- because SDKs repeat 5xx, and texts about the engine's inside do not pass.

local openai_error
do
  local ERROR_KEYS, FIELDS = {}, {}
  for key in gmatch("error object message type param detail", "%l+") do ERROR_KEYS[key] = key end
  for key in gmatch("message type param code msg n_prompt_tokens n_ctx", "[%l_]+") do FIELDS[key] = key end
  local TEXT_LIMIT = 2000 -- bytes of an engine's message; a longer one is replaced
  local NOT_READ = '"The engine did not take the request."'
  local BUSY = '"The model has too many requests. Try again."'
  local FAILED = '"The engine could not answer this request."'

  -- Messages of client faults, whatever their status: {pattern, code, message instead, param}.
  local FAULTS = {
    { "context size", "context_length_exceeded" }, { "context length", "context_length_exceeded" },
    { "maximum model length", "context_length_exceeded" }, { "longer than the model", "context_length_exceeded" },
    { "too large to process", "context_length_exceeded" },
    { "input is not supported", "unsupported_content" }, { "not a multimodal model", "unsupported_content" },
    { "At most 0 ", "unsupported_content" },
    { "does not support [Ee]mbeddings", "unsupported_operation" }, { "does not support Chat", "unsupported_operation" },
    { "does not support Completions", "unsupported_operation" },
    { "^Failed to parse tools", nil, "tools" }, { "^Failed to parse messages", nil, "messages" },
  }
  local TEXTS = {
    context_length_exceeded = '"The request is longer than the context of this model."',
    unsupported_content = '"This model does not take images, audio or video."',
    unsupported_operation = '"This model does not support this operation."',
  }
  -- Where engines name a parameter.
  local PARAMS = { "^Field '([%w_]+)'", "^'([%w_]+)' ", '^\\"([%w_]+)\\" ', "^Invalid ([%w_]+):" }

  -- The values of an engine's error: of llama.cpp's and vLLM's object `error`, of the flat object of SGLang and older
  -- versions of vLLM, or of a list of faults (FastAPI). The values are JSON, cut out of `text`.
  local function read_fields(text)
    local brace = find(text, "{", 1, true)
    local starts = brace and read_object(text, brace, ERROR_KEYS)
    if not starts then return {} end
    local at = starts.error or starts.detail or brace
    if byte(text, at) == OPEN_BRACKET then at = after_space(text, at + 1) end
    if byte(text, at) ~= OPEN_BRACE then return { message = sub(text, at, (after_value(text, at) or at) - 1) } end
    local from, to = read_object(text, at, FIELDS)
    local fields = {}
    for key, start in pairs(from or {}) do fields[key] = sub(text, start, to[key]) end
    fields.message = fields.message or fields.msg
    return fields
  end

  local function is_text(value) return value ~= nil and byte(value) == QUOTE end

  -- An engine's message, or nil if it has none that may pass: no paths, nothing of its inside.
  local function safe_message(fields)
    local message = fields.message
    if not is_text(message) or #message > TEXT_LIMIT or #message < 3 then return nil end
    if find(message, "[%s\"'`(=]/[%w._-]+/") or find(message, "Traceback", 1, true) then return nil end
    return message
  end

  -- Whether an error has OpenAI's shape already.
  local function is_openai(fields)
    local code, param = fields.code, fields.param
    return is_text(fields.message) and is_text(fields.type) and (code == "null" or is_text(code))
      and (param == "null" or is_text(param))
  end

  local function find_fault(message)
    for _, fault in ipairs(FAULTS) do
      if find(message, fault[1]) then return fault end
    end
    return nil
  end

  local function param_of(fields)
    if is_text(fields.param) then return fields.param end
    for _, pattern in ipairs(PARAMS) do
      local name = match(sub(fields.message or "", 2), pattern)
      if name then return '"' .. name .. '"' end
    end
    return "null"
  end

  local function write(message, kind, param, code)
    local code_text = code and '"' .. code .. '"' or "null"
    return format('{"error":{"message":%s,"type":"%s","param":%s,"code":%s}}', message, kind, param, code_text)
  end

  local function length_message(fields)
    local length, most = match(fields.n_prompt_tokens or "", "^%d+$"), match(fields.n_ctx or "", "^%d+$")
    if not length or not most then return TEXTS.context_length_exceeded end
    return format('"This model\'s maximum context length is %s tokens, and the request has %s."', most, length)
  end

  -- Status and body for the client of an engine's error; nil if it can pass as it is.
  function openai_error(status, text)
    local fields = read_fields(text)
    if is_openai(fields) then return nil end
    local fault = is_text(fields.message) and find_fault(sub(fields.message, 2, TEXT_LIMIT))
    if not fault and status == 501 then fault = { "", "unsupported_operation" } end
    if fault then
      local code, param = fault[2], fault[3] and '"' .. fault[3] .. '"' or "null"
      local message = code and TEXTS[code] or safe_message(fields) or NOT_READ
      if code == "context_length_exceeded" then message = length_message(fields) end
      return 400, write(message, "invalid_request_error", param, code)
    end
    if status == 429 then return 429, write(BUSY, "server_error", "null", "engine_overloaded") end
    if status >= 500 or status == 401 or status == 403 or status == 407 then
      return max(status, 500), write(FAILED, "server_error", "null", "engine_error")
    end
    if status == 422 then status = 400 end
    return status, write(safe_message(fields) or NOT_READ, "invalid_request_error", param_of(fields), nil)
  end
end
