// OpenAI's own client for Node, unmodified, against a running server: `make test-clients` starts it.
// ARKS_URL, ARKS_KEY_FILE and ARKS_MODEL name it. An openai-proxy without a gateway knows no keys: ARKS_KEYS=no.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import test from "node:test";

const OpenAI = createRequire(`${process.env.ARKS_NODE_MODULES}/`)("openai").default;
const key = process.env.ARKS_KEY_FILE ? readFileSync(process.env.ARKS_KEY_FILE, "utf8").trim() : "none";
const model = process.env.ARKS_MODEL ?? "smollm2";
const options = { baseURL: process.env.ARKS_URL, maxRetries: 0, timeout: 120_000 };
const client = new OpenAI({ ...options, apiKey: key });
const hello = { model, messages: [{ role: "user", content: "Say hello." }], max_tokens: 8, temperature: 0, seed: 1 };
const weather = { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } };

test("models are listed", async () => {
  const found = [];
  for await (const each of client.models.list()) found.push(each.id);
  assert.ok(found.includes(model));
});

test("a chat has content and usage", async () => {
  const answer = await client.chat.completions.create(hello);
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a stream has the text of the whole answer, and usage if requested", async () => {
  let text = "", usage;
  const stream = await client.chat.completions.create({ ...hello, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, (await client.chat.completions.create(hello)).choices[0].message.content);
  assert.ok(usage.completion_tokens > 0);
});

test("a request with tools is answered, or refused by a gateway whose model has no template for them", async () => {
  const request = { ...hello, tools: [{ type: "function", function: weather }] };
  if (process.env.ARKS_KEYS !== "no") {
    await assert.rejects(client.chat.completions.create(request), { status: 400, param: "tools" });
    return;
  }
  const answer = await client.chat.completions.create(request);
  assert.ok(["stop", "length", "tool_calls"].includes(answer.choices[0].finish_reason));
});

test("errors have the client's own types", async () => {
  await assert.rejects(client.chat.completions.create({ ...hello, model: "absent" }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ ...hello, messages: [] }), OpenAI.BadRequestError);
  await assert.rejects(client.chat.completions.create({ ...hello, temperature: "hot" }), OpenAI.BadRequestError);
});

test("a wrong key is an authentication error", { skip: process.env.ARKS_KEYS === "no" }, async () => {
  const stranger = new OpenAI({ ...options, apiKey: "sk-wrong" });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});
