---- Names of models
--
-- Engines may know a model by another name than the client. Then `model` is replaced in the request, and back in each
-- part of the answer. `"model"` with a colon after it cannot occur inside a JSON string, where its quotes would be
-- escaped.

local with_model, new_renaming
do
  local MODEL_KEY = keys("model")
  local KEY_BYTES = 16 -- of `"model"`, a colon and white space

  -- The body of a request with another model. It was read before, so it has one.
  function with_model(s, model)
    local starts, stops = read_object(s, find(s, NOT_SPACE), MODEL_KEY)
    return sub(s, 1, starts.model) .. model .. sub(s, stops.model)
  end

  -- The position from which the end of `s` may be the beginning of a name to replace.
  local function unfinished(s, full)
    for p = max(1, #s - #full - KEY_BYTES), #s do
      if byte(s, p) == QUOTE then
        local plain = gsub(sub(s, p), "%s", "")
        if #plain < #full and sub(full, 1, #plain) == plain then return p end
      end
    end
    return #s + 1
  end

  -- `chunk` with the client's name; what may be the beginning of the engine's name waits for the next chunk.
  local function feed(renaming, chunk)
    local s, pieces, from = renaming.rest .. chunk, {}, 1
    local at = find(s, renaming.old, 1, true)
    while at do
      local after = at + #renaming.old
      if find(sub(s, max(1, at - KEY_BYTES), at - 1), '"model"%s*:%s*$') then
        pieces[#pieces + 1] = sub(s, from, at - 1) .. renaming.new
        from = after
      end
      at = find(s, renaming.old, after, true)
    end
    local stop = unfinished(s, renaming.full)
    renaming.rest = sub(s, max(stop, from))
    return concat(pieces) .. sub(s, from, stop - 1)
  end

  -- Follows an answer of an engine that knows the client's model `new` as `old`.
  function new_renaming(old, new)
    return { old = '"' .. old .. '"', new = '"' .. new .. '"', full = '"model":"' .. old .. '"', rest = "", feed = feed }
  end
end
