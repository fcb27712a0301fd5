---- Uses
--
-- What a request wants that not every engine keeps; `arks.contracts.uses` lists the names. Most requests have none.

local USE_KEYS = {
  "tool_choice", "functions", "function_call", "modalities", "web_search_options", "echo", "suffix", "dimensions",
}
local has_uses, uses_of
do
  local SCHEMA_MEMBERS = 10000 -- of one schema with all that is in it; more are not looked at
  local ONE, LIST, MAP = 1, 2, 3
  -- Keywords whose values hold schemas.
  local INNER = {
    items = ONE, additionalProperties = ONE, ["not"] = ONE, ["if"] = ONE, ["then"] = ONE, ["else"] = ONE,
    contains = ONE, propertyNames = ONE, anyOf = LIST, oneOf = LIST, allOf = LIST, prefixItems = LIST,
    properties = MAP, patternProperties = MAP, ["$defs"] = MAP, definitions = MAP, dependentSchemas = MAP,
  }
  local NAMED = {}
  for key in gmatch([[multipleOf minProperties maxProperties patternProperties propertyNames contains not if
    dependentRequired dependentSchemas]], "%a+") do NAMED[key] = true end
  local BOUNDS = { minimum = true, maximum = true, exclusiveMinimum = true, exclusiveMaximum = true }
  local LENGTHS = { minLength = true, maxLength = true }
  local USUAL_FORMATS = { ['"date"'] = true, ['"time"'] = true, ['"date-time"'] = true }

  -- Whether a pattern, as JSON, has what a simple grammar has not: escapes of classes, assertions, no anchors.
  local function is_hard(pattern)
    if not find(pattern, '^"^.*%$"$') or find(pattern, "%(%?[^:]") then return true end
    local plain = gsub(pattern, "\\\\", "\1") -- a backslash of the pattern is two in JSON
    return find(plain, "\1%w") ~= nil or find(plain, "\\[^/\"]") ~= nil
  end

  -- Calls `visit` with key, start and end of each member of the object at `at`, as far as it can be read.
  local function each_member(s, at, visit)
    local p = after_space(s, at + 1)
    while byte(s, p) == QUOTE do
      local after = after_string(s, p)
      local colon = after and after_space(s, after)
      if not colon or byte(s, colon) ~= COLON then return end
      local value = after_space(s, colon + 1)
      local stop = after_value(s, value)
      if not stop then return end
      visit(sub(s, p + 1, after - 2), value, stop - 1)
      p = after_space(s, stop)
      if byte(s, p) ~= COMMA then return end
      p = after_space(s, p + 1)
    end
  end

  local function each_element(s, at, visit)
    local p = after_space(s, at + 1)
    while byte(s, p) == OPEN_BRACE do
      visit(p)
      p = after_space(s, after_nested(s, p) or #s)
      if byte(s, p) ~= COMMA then return end
      p = after_space(s, p + 1)
    end
  end

  local walk

  -- Walks into the schemas that the value of a keyword holds.
  local function walk_inner(s, kind, at, found, depth)
    local opening = byte(s, at)
    if kind == LIST and opening == OPEN_BRACKET then
      each_element(s, at, function(element) walk(s, element, found, depth) end)
    elseif kind == MAP and opening == OPEN_BRACE then
      each_member(s, at, function(_, value) walk(s, value, found, depth) end)
    elseif kind == ONE then
      walk(s, at, found, depth)
    end
  end

  -- Collects the uses in the schema at `at`.
  function walk(s, at, found, depth)
    if depth > DEPTH_LIMIT or byte(s, at) ~= OPEN_BRACE then return end
    local has = {}
    each_member(s, at, function(key, value, stop)
      found.members = found.members + 1
      if found.members > SCHEMA_MEMBERS then return end
      has[key] = sub(s, value, min(stop, value + 255))
      if NAMED[key] then found["schema." .. key] = true end
      if key == "pattern" and byte(s, value) == QUOTE and is_hard(sub(s, value, stop)) then
        found["schema.pattern"] = true
      end
      if INNER[key] then walk_inner(s, INNER[key], value, found, depth + 1) end
    end)
    local format = has.format
    if format and not USUAL_FORMATS[format] and not find(format, '^"uuid') then found["schema.format"] = true end
    if has.uniqueItems == "true" then found["schema.uniqueItems"] = true end
    for key in pairs(has) do
      if BOUNDS[key] and has.type ~= '"integer"' then found["schema.number"] = true end
      if LENGTHS[key] and (has.pattern or has.format) then found["schema.length"] = true end
    end
  end

  -- Collects the uses in a strict schema of `response_format`.
  local function walk_format(s, at, found)
    local keys_of = {}
    each_member(s, at, function(key, value) keys_of[key] = value end)
    local outer, strict, schema = keys_of.json_schema, false, nil
    if not outer or byte(s, outer) ~= OPEN_BRACE then return end
    each_member(s, outer, function(key, value, stop)
      if key == "strict" then strict = sub(s, value, stop) == "true" end
      if key == "schema" then schema = value end
    end)
    if strict and schema then walk(s, schema, found, 1) end
  end

  function has_uses(starts)
    if starts.response_format then return true end
    for i = 1, #USE_KEYS do
      if starts[USE_KEYS[i]] then return true end
    end
    return false
  end

  -- Names separated by commas, or nil.
  function uses_of(s, starts, stops)
    local found = { members = 0 }
    local function given(key)
      local text = starts[key] and sub(s, starts[key], stops[key])
      return text ~= nil and text ~= "null" and text
    end
    if starts.tool_choice and byte(s, starts.tool_choice) == OPEN_BRACE then found["tool_choice.name"] = true end
    if given("functions") or given("function_call") then found.functions = true end
    if starts.modalities and find(given("modalities") or "", '"audio"', 1, true) then found.audio = true end
    if given("web_search_options") then found.web_search = true end
    if given("echo") == "true" then found.echo = true end
    if (given("suffix") or '""') ~= '""' then found.suffix = true end
    if given("dimensions") then found.dimensions = true end
    if starts.response_format and byte(s, starts.response_format) == OPEN_BRACE then
      walk_format(s, starts.response_format, found)
    end
    found.members = nil
    local names = {}
    for name in pairs(found) do names[#names + 1] = name end
    table.sort(names)
    return names[1] and concat(names, ",")
  end
end
