---- The key before the body
--
-- A filter of its own, in front of admission, for requests whose body is long or of unknown length (`routes.py`): a
-- client without a key cannot make Envoy buffer it. In one filter Envoy does not give the body after a query.

local known_keys = new_table()

-- The time until which the key is valid, or nil and the rejection; both are nil if token-quota gave no answer.
local function query_key(h, authorization, sent)
  local answer, text = h:httpCall("token-quota", {
    [":method"] = "POST", [":path"] = "/v1/key", [":authority"] = "token-quota", ["authorization"] = authorization,
    ["x-arks-gateway-token"] = GATEWAY_TOKEN,
  }, "", ADMISSION_MILLISECONDS)
  if answer[":status"] == "204" then
    local milliseconds = match(answer["x-arks-valid-milliseconds"] or "", "^%d+$")
    return sent + min(tonumber(milliseconds or 0), HOLD_MILLISECONDS)
  end
  local rejection = read_rejection(answer, text)
  if rejection then hold_rejection(answer, rejection, h:timestamp(), authorization) end
  return nil, rejection
end

function envoy_on_request(h)
  local authorization, now = h:headers():get("authorization"), h:timestamp()
  if not is_key(authorization) then return reject_without_key(h) end
  local known = get(known_keys, authorization)
  if known and is_valid(known, now, HOLD_MILLISECONDS) then return end
  if repeat_rejection(h, authorization, now, 0, 0) then return end
  local valid, rejection = query_key(h, authorization, now)
  if valid then return put(known_keys, authorization, valid) end
  if rejection then return respond(h, rejection.headers, rejection.text) end
  -- The last failure policy decides, once the model is known.
  if known and is_valid(known + OUTAGE_MILLISECONDS, now, OUTAGE_MILLISECONDS + HOLD_MILLISECONDS) then return end
  reject_unavailable(h)
end
