---- Answers of the filter itself
--
-- Envoy's objects (headers, body, metadata) are invalid after every wait (body, httpCall, a chunk).

local NO_KEY = { message = "Give your key in the header `Authorization: Bearer <key>`.", code = "invalid_api_key" }
local TRY_AGAIN = "Requests cannot be admitted now. Try again."
local UNAVAILABLE = { message = TRY_AGAIN, type = "server_error", code = "admission_unavailable" }
local COMPRESSED = { message = "Send the request body without compression.", code = "unsupported_media_type" }
local rejections = new_table()

-- Answers the client, and ends the script: what follows this call does not run. The header keeps Envoy from replacing
-- the body by its own.
local function respond(h, headers, text)
  h:headers():replace("x-arks-answered", "1")
  h:respond(headers, text)
end

local function reject(h, status, fault, name, value)
  local headers = { [":status"] = status, ["content-type"] = "application/json", [name or "x-arks"] = value }
  respond(h, headers, envelope(fault))
end

local function reject_without_key(h) reject(h, "401", NO_KEY, "www-authenticate", "Bearer") end

local function reject_unavailable(h) reject(h, "503", UNAVAILABLE, "retry-after", "1") end

-- Headers of token-quota's rejection that the client gets.
local FOR_CLIENT = {
  [":status"] = true, ["content-type"] = true, ["retry-after"] = true, ["www-authenticate"] = true,
}
local function is_for_client(name)
  return FOR_CLIENT[name] or sub(name, 1, 12) == "x-ratelimit-" or sub(name, 1, 8) == "x-error-"
end

-- The rejection {headers, text} that token-quota answered, or nil if this is none.
local function read_rejection(answer, text)
  local status = tonumber(answer[":status"])
  local is_json = sub(answer["content-type"] or "", 1, 16) == "application/json"
  if not is_json or not find(text or "", '^%s*{%s*"error"') or not status or status < 400 then return nil end
  local headers = {}
  for name, value in pairs(answer) do
    if is_for_client(name) then headers[name] = value end
  end
  return { headers = headers, text = text }
end

-- Keeps a rejection as long as token-quota allows. `request` is nil before the body is read.
local function hold_rejection(answer, rejection, now, authorization, request)
  local milliseconds, scope = parse_refusal(answer["x-arks-refusal"])
  if scope == "key" then
    hold(rejections, authorization, now, milliseconds, rejection)
  elseif scope and request then
    local is_size = scope == "size"
    hold(rejections, request.key, now, milliseconds, rejection, is_size and request.prompt, is_size and request.least)
  end
end

-- Repeats a rejection that is held. False if there is none.
local function repeat_rejection(h, key, now, prompt, completion)
  local answer = held_answer(rejections, key, now, prompt, completion)
  if not answer then return false end
  respond(h, answer.headers, answer.text)
  return true
end

-- Whether the header `authorization` holds one key.
local function is_key(authorization)
  return authorization and find(authorization, "^[Bb][Ee][Aa][Rr][Ee][Rr] +[!-~]+$")
end
