// The Vercel AI SDK with its OpenAI-compatible provider: what it saw of a few calls, as JSON.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, Output, streamText, tool } from "ai";

const { baseURL, apiKey, model: id, prompt, parameters } = JSON.parse(process.argv[2]);
const provider = createOpenAICompatible({
  name: "pulse",
  baseURL,
  apiKey,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const question = { model: provider(id), system: "Be brief", prompt: prompt, maxRetries: 0 };
const tools = { get_weather: tool({ inputSchema: jsonSchema(parameters) }) };

const calls = (found) => found.map(({ toolName, input }) => ({ name: toolName, input }));

const plain = await generateText(question);
const stream = streamText(question);
let streamed = "";
let pieces = 0;
for await (const piece of stream.textStream) {
  streamed += piece;
  pieces += 1;
}
const called = await generateText({ ...question, tools });
const calledInPieces = streamText({ ...question, tools });
const callsInPieces = await calledInPieces.toolCalls;
const shaped = await generateText({
  ...question,
  output: Output.object({ schema: jsonSchema(parameters) }),
});

console.log(
  JSON.stringify({
    content: plain.text,
    finishReason: plain.finishReason,
    inputTokens: plain.usage.inputTokens,
    outputTokens: plain.usage.outputTokens,
    streamed,
    pieces,
    streamedTokens: (await stream.usage).outputTokens,
    calls: calls(called.toolCalls),
    callsInPieces: calls(callsInPieces),
    shaped: shaped.output,
  }),
);
