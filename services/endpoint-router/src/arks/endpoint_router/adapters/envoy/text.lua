---- The text of a request
--
-- Reservations are derived from bytes of text. Media in base64 and what steers the form of the answer are not text.

local BYTES_A_TOKEN = 4
local LOOK_BYTES = 1024 -- a shorter body counts as text entirely
local MEDIA_LIMIT = 100 -- in one body; others count as text, so that the time of the search is bounded
local PICTURE_TOKENS = 1024 -- what vision models make of about a megapixel; a shorter picture counts by its bytes
local MEDIA_BYTES_A_TOKEN = 256 -- of audio and video: half of what models make of 64 kbit/s
local URL_BYTES = 120 -- from a data URL's key to its data

-- Top-level keys whose values are no part of a prompt: engines read a schema or a grammar as rules.
local RULE_KEYS = {
  "response_format", "json_schema", "grammar", "structured_outputs", "guided_json", "guided_regex", "guided_grammar",
  "guided_choice", "regex", "ebnf", "structural_tag", "logit_bias", "metadata",
}
local MEDIA_KEYS = { url = true, image_url = true, audio_url = true, video_url = true, image = true, file_data = true }
local AUDIO_KEYS = { data = "data" }

-- The bytes of a medium that count for no token.
local function spare_bytes(bytes, is_picture)
  local tokens = is_picture and PICTURE_TOKENS or ceil(bytes / MEDIA_BYTES_A_TOKEN)
  return max(0, bytes - BYTES_A_TOKEN * tokens)
end

-- As `spare_bytes`, of the data URLs in a body.
local function spare_in_urls(s)
  local spare, at = 0, find(s, ";base64,", 1, true)
  for _ = 1, MEDIA_LIMIT do
    if not at then return spare end
    local stop = find(s, '"', at, true) or #s
    local key, kind = match(sub(s, max(1, at - URL_BYTES), at - 1), '"([%l_]+)"%s*:%s*"data:(%a+)\\?/[%w.+;=-]*$')
    if MEDIA_KEYS[key] then spare = spare + spare_bytes(stop - at, kind == "image") end
    at = find(s, ";base64,", stop, true)
  end
  return spare
end

-- As `spare_bytes`, of `"input_audio": {"data": ...}`.
local function spare_in_audio(s)
  local spare, at = 0, find(s, '_audio"', 1, true)
  for _ = 1, MEDIA_LIMIT do
    if not at then return spare end
    local brace = match(s, '^"input_audio"%s*:%s*(){', at - 6)
    local starts, stops, closing
    if brace then starts, stops, closing = read_object(s, brace, AUDIO_KEYS) end
    if closing and starts.data then spare = spare + spare_bytes(stops.data - starts.data, false) end
    at = find(s, '_audio"', closing or at + 1, true)
  end
  return spare
end

-- The bytes of a body that count as text, at least 1; `starts` and `stops`: of its top-level values.
local function text_bytes(s, starts, stops)
  local bytes = #s
  if bytes < LOOK_BYTES then return bytes end
  for i = 1, #RULE_KEYS do
    local key = RULE_KEYS[i]
    if starts[key] then bytes = bytes - (stops[key] - starts[key] + 1) end
  end
  return max(1, bytes - spare_in_urls(s) - spare_in_audio(s))
end
