// OpenAI's client for Node: what it saw of a few calls, as JSON. Takes one argument, also JSON.
import OpenAI from "openai";

const { baseURL, apiKey, model, messages, tool } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const tools = [tool];

async function gathered(question) {
  const seen = { content: "", finishReason: null, usage: null, chunks: 0, calls: [] };
  for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
    seen.chunks += 1;
    seen.usage = chunk.usage ?? seen.usage;
    const choice = chunk.choices[0];
    seen.content += choice?.delta.content ?? "";
    seen.finishReason = choice?.finish_reason ?? seen.finishReason;
    for (const { index, function: called } of choice?.delta.tool_calls ?? []) {
      seen.calls[index] ??= { name: called.name, arguments: "" };
      seen.calls[index].arguments += called.arguments;
    }
  }
  return seen;
}

const plain = await client.chat.completions.create({ model, messages });
const streamed = await gathered({ model, messages, stream_options: { include_usage: true } });
const unasked = await gathered({ model, messages });
const called = await client.chat.completions.create({ model, messages, tools });
const calledInPieces = await gathered({ model, messages, tools });
const response = await client.responses.create({ model, input: "Hello" });
let refusal = null;
try {
  await client.models.retrieve("no-such-model");
} catch (error) {
  refusal = { kind: error.constructor.name, status: error.status };
}

console.log(
  JSON.stringify({
    content: plain.choices[0].message.content,
    finishReason: plain.choices[0].finish_reason,
    outputTokens: plain.usage.completion_tokens,
    streamed,
    unasked,
    calls: called.choices[0].message.tool_calls.map((call) => call.function),
    callsInPieces: calledInPieces.calls,
    response: response.output_text,
    refusal,
  }),
);
