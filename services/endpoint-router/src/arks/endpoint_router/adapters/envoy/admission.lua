admission = {
  accept = accept, append = append, begin_confirmation = begin_confirmation, begin_query = begin_query,
  confirm = confirm, end_query = end_query, envelope = envelope, estimate = estimate, finish = finish, get = get,
  held_answer = held_answer, hold = hold, needs_confirmation = needs_confirmation, new_account = new_account,
  new_confirmations = new_confirmations, new_renaming = new_renaming, with_model = with_model, new_meter = new_meter, new_starts = new_starts, new_table = new_table,
  openai_error = openai_error,
  parse_grant = parse_grant, parse_lease = parse_lease, parse_refusal = parse_refusal, keeps = keeps, read_name = read_name, outage_lease = outage_lease,
  percent_encode = percent_encode, put = put, read_request = read_request, renews = renews, take = take,
}

---- Admission
--
-- If this script fails, Envoy continues the request: it has no `x-arks-cluster`, which is set last, and the routes
-- answer 503. A query whose client hangs up never returns: no state may wait for its end.

local OPERATIONS = { ["/v1/chat/completions"] = "chat.completions", ["/v1/completions"] = "completions" }
OPERATIONS["/v1/embeddings"] = "embeddings"
local LIMIT_HEADERS = {
  "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
  "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
}
local CUT = byte("c") -- the answer's metadata begins with "cut" or "pass", and the copies of several answers
local GATEWAY = os.getenv("ARKS_GATEWAY") or "gateway"

local accounts, confirmations = new_table(), new_confirmations()
local starts_file = new_starts(STARTS_PATH) -- listeners.py defines the path in front of the script

local function query_admission(h, request, demanded)
  return h:httpCall("token-quota", {
    [":method"] = "POST",
    [":path"] = "/v1/admit",
    [":authority"] = "token-quota",
    ["authorization"] = request.authorization,
    ["x-arks-request-id"] = request.id,
    ["x-arks-model"] = percent_encode(request.model),
    ["x-arks-operation"] = request.operation,
    ["x-arks-body-bytes"] = tostring(request.bytes),
    ["x-arks-max-tokens"] = request.max_tokens and tostring(request.max_tokens),
    ["x-arks-n"] = request.answers and tostring(request.answers),
    ["x-arks-stream"] = request.stream and "1" or "0",
    ["x-arks-uses"] = request.uses,
    ["x-arks-gateway"] = GATEWAY,
    ["x-arks-demand"] = demanded,
    ["x-arks-gateway-token"] = GATEWAY_TOKEN,
  }, "", ADMISSION_MILLISECONDS)
end

-- Queries whether the leases of this worker still count. Without an answer they do not, and requests query admission.
local function query_changes(h, sent)
  local answer = h:httpCall("token-quota", {
    [":method"] = "POST", [":path"] = "/v1/changes", [":authority"] = "token-quota",
    ["x-arks-since"] = begin_confirmation(confirmations, sent), ["x-arks-life"] = confirmations.life,
    ["x-arks-scopes"] = "namespace", ["x-arks-gateway-token"] = GATEWAY_TOKEN,
  }, "", ADMISSION_MILLISECONDS)
  local life = answer[":status"] == "200" and answer["x-arks-life"]
  confirm(confirmations, accounts, sent, h:timestamp(), life, answer["x-arks-ended"])
end

-- The limits of an answer, a line each; nil if it has none.
local function pack_limits(headers)
  local lines, found = {}, false
  for i = 1, #LIMIT_HEADERS do
    lines[i] = headers[LIMIT_HEADERS[i]] or ""
    found = found or lines[i] ~= ""
  end
  return found and concat(lines, "\n") or nil
end

-- `now` as text; most calls have the time of the one before.
local last_time, last_text
local function time_text(now)
  if now ~= last_time then last_time, last_text = now, format("%.0f", now) end
  return last_text
end

-- Lets the request pass to the engine once its start is in the file: a request without a start would be free. If it
-- cannot be written, the lease is not used again, because its own line may not be in the file either. Without a lease
-- the line has the names that the lease's line would have.
local function start(h, request, lease, prompt, completion, now, lease_line)
  local operation, tokens = request.operation, prompt .. "/" .. completion
  local line = lease_line .. "S\t" .. request.id .. "\t" .. lease.id .. "\t" .. prompt .. "\t" .. completion
  local names = lease.id == "-" and "\t" .. sub(lease.grant, 1, -3) or ""
  if not append(starts_file, line .. "\t" .. operation .. "\t" .. time_text(now) .. names .. "\n", now) then
    lease.requests = 0
    return reject_unavailable(h)
  end
  local metadata = h:streamInfo():dynamicMetadata()
  metadata:set("arks", "grant", operation .. (request.stream and "\t1\t" or "\t0\t") .. lease.grant .. "/" .. tokens)
  if request.body or request.copies or lease.limits then
    local meter = (request.body and "cut " or "pass ") .. (request.copies or "")
    metadata:set("arks", "answer", meter .. "\n" .. (lease.limits or ""))
  end
  local headers, text = h:headers(), request.body
  if lease.engine_model then
    local body = h:body(true)
    text = with_model(text or body:getBytes(0, body:length()), lease.engine_model)
    metadata:set("arks", "model", lease.engine_model .. "\n" .. request.model)
  end
  if text then headers:replace("content-length", tostring(h:body(true):setBytes(text))) end
  if request.path then headers:replace(":path", request.path) end
  headers:replace("x-arks-cluster", lease.cluster)
  h:clearRouteCache()
end

-- Starts the request from the account's lease. False if it has none that suffices, or if this request `may_renew` the
-- lease ahead.
local function start_from_lease(h, request, account, now, may_renew)
  if not account or (may_renew and renews(account, now)) or not keeps(account, request.uses) then return false end
  local prompt, completion = estimate(request.operation, request, account.default)
  local lease = take(account, now, prompt, completion)
  if not lease then return false end
  start(h, request, lease, prompt, completion, now, "")
  return true
end

-- token-quota gave no answer that can be used.
local function start_without_answer(h, request)
  local now, account = h:timestamp(), get(accounts, request.key)
  if start_from_lease(h, request, account, now, false) then return end
  local lease = keeps(account, request.uses) and outage_lease(account, now)
  if not lease then return reject_unavailable(h) end
  local prompt, completion = estimate(request.operation, request, account.default)
  start(h, request, lease, prompt, completion, now, "")
end

-- Grant, amount of the lease and cluster of an answer, or nil.
local function read_grant(answer)
  local grant, amount = parse_grant(answer["x-arks-grant"]), parse_lease(answer["x-arks-lease"])
  local cluster = answer["x-arks-cluster"]
  if answer[":status"] ~= "200" or not grant or not amount or not cluster then return nil end
  return grant, amount, cluster
end

local function start_by_query(h, request, sent)
  local account = get(accounts, request.key)
  local demanded, is_demand = begin_query(account, sent)
  local answer, text = query_admission(h, request, demanded)
  local now = h:timestamp()
  if is_demand then end_query(account, sent) end
  local grant, amount, cluster = read_grant(answer)
  if grant then
    account = get(accounts, request.key) or new_account(confirmations)
    put(accounts, request.key, account)
    account.outage, account.engine_model = answer["x-arks-outage"], read_name(answer["x-arks-engine-model"])
    account.unsupported = answer["x-arks-unsupported"]
    local lease, line = accept(account, sent, now, grant, cluster, amount, pack_limits(answer))
    return start(h, request, lease, grant.prompt, grant.completion, now, line)
  end
  local rejection = read_rejection(answer, text)
  if not rejection then return start_without_answer(h, request) end
  hold_rejection(answer, rejection, now, request.authorization, request)
  account = get(accounts, request.key)
  if answer[":status"] == "429" and start_from_lease(h, request, account, now, false) then return end
  respond(h, rejection.headers, rejection.text)
end

-- Rejects a body that the filter does not read.
local function reject_body(h, fault)
  local encoding = fault == INVALID and h:headers():get("content-encoding") or "identity"
  if lower(encoding) ~= "identity" then return reject(h, "415", COMPRESSED) end
  reject(h, "400", fault)
end

-- Makes Envoy's random UUID one of version 7 (RFC 9562), which begins with the time, `now` in milliseconds: the ledger's
-- index on request ids then grows at its end, for half of the processor time of an index on random ones.
local function ordered(id, now)
  if #id ~= 36 then return id end
  local high = floor(now / 65536)
  return format("%08x-%04x-7", high, now - high * 65536) .. sub(id, 16)
end

function envoy_on_request(h)
  local headers = h:headers()
  local path = headers:get(":path") or ""
  local plain = OPERATIONS[path] and path or match(path, "^[^?#]*") -- engines get no query: some read options from it
  local operation = OPERATIONS[plain]
  if not operation or headers:get(":method") ~= "POST" then return end
  local authorization, id = headers:get("authorization"), headers:get("x-request-id")
  if not is_key(authorization) then return reject_without_key(h) end
  if get(rejections, authorization) and repeat_rejection(h, authorization, h:timestamp(), 0, 0) then return end
  local body = h:body(true)
  local request, fault = read_request(body:getBytes(0, body:length()))
  if not request then return reject_body(h, fault) end
  request.authorization, request.operation = authorization, operation
  request.key = authorization .. "\n" .. request.model
  if plain ~= path then request.path = plain end
  local now, account = h:timestamp(), get(accounts, request.key)
  request.id = ordered(id, now)
  h:headers():replace("x-request-id", request.id)
  if account and needs_confirmation(confirmations, account, now) then
    query_changes(h, now)
    now, account = h:timestamp(), get(accounts, request.key)
  end
  if start_from_lease(h, request, account, now, true) then return end
  local _
  request.prompt, _, request.least = estimate(operation, request)
  if repeat_rejection(h, request.key, now, request.prompt, request.least) then return end
  start_by_query(h, request, now)
end

-- Copies the limits of a grant, a line each after the first, onto the answer.
local function set_limits(headers, answer)
  local number = 0
  for value in gmatch(answer, "\n([^\n]*)") do
    number = number + 1
    if value ~= "" then headers:replace(LIMIT_HEADERS[number], value) end
  end
end

-- The meter of an answer. Only a request for a stream can have one as its answer.
local function meter_of(h, metadata)
  local answer, stream = metadata.answer, find(metadata.grant, "\t1\t", 1, true)
  if not answer and not stream then return new_meter(false) end
  local headers = h:headers()
  if answer then set_limits(headers, answer) end
  local is_stream = stream and find(headers:get("content-type") or "", "text/event-stream", 1, true) == 1
  local copies = answer and tonumber(match(answer, "^%l+ (%d+)"))
  local prompt = copies and tonumber(match(metadata.grant, "/(%d+)/%d+$"))
  local meter = new_meter(is_stream, answer and byte(answer) == CUT, copies, prompt)
  if meter.cut then headers:remove("content-length") end
  return meter
end

-- Replaces the engine's name of the model by the client's; nil if they are the same.
local function renaming_of(h, names)
  if not names then return nil end
  h:headers():remove("content-length")
  return new_renaming(match(names, "^(.-)\n(.*)$"))
end

-- Gives an engine's error OpenAI's shape.
local function answer_error(h, status)
  local body = h:body(true)
  local new_status, text = openai_error(tonumber(status), body:getBytes(0, body:length()))
  if not new_status then return end
  local length, headers = body:setBytes(text), h:headers()
  headers:replace(":status", tostring(new_status))
  headers:replace("content-type", "application/json")
  headers:replace("content-length", tostring(length))
end

function envoy_on_response(h)
  local metadata = h:streamInfo():dynamicMetadata():get("arks")
  if not metadata then return end
  local status = h:headers():get(":status")
  if status >= "400" then return answer_error(h, status) end
  local meter, renaming, known = meter_of(h, metadata), renaming_of(h, metadata.model), nil
  for chunk in h:bodyChunks() do
    local text = chunk:getBytes(0, chunk:length())
    local renamed = renaming and renaming:feed(text)
    local replacement = meter:feed(renamed or text) or renamed
    if replacement then chunk:setBytes(replacement) end
    if meter.usage ~= known then
      known = meter.usage
      h:streamInfo():dynamicMetadata():set("arks", "usage", known)
    end
  end
  finish(meter)
  if meter.usage ~= known then h:streamInfo():dynamicMetadata():set("arks", "usage", meter.usage) end
end
