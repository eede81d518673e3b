// Anthropic's client for Node: what it saw of a few calls, as JSON. Takes one argument, also JSON.
import Anthropic from "@anthropic-ai/sdk";

const { baseURL, apiKey, model, messages, tool } = JSON.parse(process.argv[2]);
const client = new Anthropic({ baseURL, apiKey, maxRetries: 0 });
const question = { model, messages, max_tokens: 100 };
const tools = [tool];

const plain = await client.messages.create(question);
const kinds = [];
for await (const event of await client.messages.create({ ...question, stream: true })) {
  kinds.push(event.type);
}
const streamed = await client.messages.stream(question).finalMessage();
const called = await client.messages.create({ ...question, tools });
const calledInPieces = await client.messages.stream({ ...question, tools }).finalMessage();
const counted = await client.messages.countTokens({ model, messages });

const text = (message) => message.content.map((block) => block.text ?? "").join("");
const calls = (message) =>
  message.content
    .filter((block) => block.type === "tool_use")
    .map(({ name, input }) => ({ name, input }));

console.log(
  JSON.stringify({
    content: text(plain),
    stopReason: plain.stop_reason,
    outputTokens: plain.usage.output_tokens,
    kinds,
    streamed: text(streamed),
    calls: calls(called),
    callsInPieces: calls(calledInPieces),
    counted: counted.input_tokens,
  }),
);
