---- Attributes of a request's span
--
-- A filter of its own, outside of admission, that only a gateway with traces has. It reads what admission.lua writes for
-- the usage log (`operation<tab>stream<tab>grant` and `e,<prompt>,<completion>`), and leaves it in the metadata
-- "arks.trace", from which Envoy takes the attributes when the request ends.

local NAMES = { ["chat.completions"] = "chat", ["completions"] = "text_completion", ["embeddings"] = "embeddings" }

function envoy_on_request(h)
  h:streamInfo():dynamicMetadata():set("arks.trace", "began", string.format("%.0f", h:timestamp()))
end

-- Who uses which model; nil without a grant.
local function set_names(h)
  local metadata = h:streamInfo():dynamicMetadata()
  local arks, trace = metadata:get("arks"), metadata:get("arks.trace")
  if not arks or not arks.grant then return nil end
  local operation, namespace, endpoint, token = string.match(arks.grant, "^([^\t]*)\t[^\t]*\t([^/]*)/([^/]*)/([^/]*)/")
  if not operation then return nil end
  metadata:set("arks.trace", "operation", NAMES[operation] or operation)
  metadata:set("arks.trace", "namespace", namespace)
  metadata:set("arks.trace", "model", endpoint)
  metadata:set("arks.trace", "token", token)
  return trace and tonumber(trace.began)
end

local function set_usage(h)
  local metadata = h:streamInfo():dynamicMetadata()
  local arks = metadata:get("arks")
  local prompt, completion = string.match(arks and arks.usage or "", "^e,(%d+),(%d+)$")
  if not prompt then return end
  metadata:set("arks.trace", "input", prompt)
  metadata:set("arks.trace", "output", completion)
end

function envoy_on_response(h)
  local began = set_names(h)
  if not began then return end
  local is_stream = string.find(h:headers():get("content-type") or "", "text/event-stream", 1, true) == 1
  local is_first = is_stream
  for _ in h:bodyChunks() do
    if is_first then
      local waited = string.format("%.3f", (h:timestamp() - began) / 1000)
      h:streamInfo():dynamicMetadata():set("arks.trace", "first", waited)
      is_first = false
    end
    set_usage(h)
  end
  set_usage(h)
end
