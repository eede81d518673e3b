// The Vercel AI SDK with OpenAI's own provider: a tool loop and the turns after it, as JSON.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

const { baseURL, apiKey, model, parameters, turns } = JSON.parse(process.argv[2]);
const provider = createOpenAI({ baseURL, apiKey });
const get_weather = tool({
  inputSchema: jsonSchema(parameters),
  execute: async ({ city }) => `Rain in ${city}`,
});
const question = {
  model: provider.responses(model),
  system: "Be brief",
  maxRetries: 0,
  stopWhen: stepCountIs(3),
  tools: { get_weather },
};
const [first, second, third] = turns.map((content) => ({ role: "user", content }));

const looped = await generateText({ ...question, messages: [first] });
const messages = [first, ...looped.response.messages, second];
const stream = streamText({ ...question, messages });
let streamed = "";
for await (const piece of stream.textStream) streamed += piece;
const { responseId } = (await stream.providerMetadata).openai;
const continued = await generateText({
  ...question,
  messages: [third],
  providerOptions: { openai: { previousResponseId: responseId } },
});

console.log(
  JSON.stringify({
    steps: looped.steps.length,
    texts: [looped.text, streamed, continued.text],
  }),
);
