"""Make a language model of 4 MB that always says the same, and serve it with llama.cpp.

It runs with the packages of requirements.txt, not with the gateway's:

    python tiny_model.py FOLDER KEY WORD...

It prints the server's address and serves until it is killed.

The model is a table of successors as weights: a token's embedding is a unit vector, attention and
feed-forward add nothing, and each row of the output marks the tokens that the row's token follows.
"""

import sys
import threading
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

NAME = "tiny"
CONTEXT_TOKENS = 4096
WIDTH = 384  # at least the vocabulary
HIDDEN = 32
HEADS = 4
# The second choice after the last word: where a tool must be called, the end is not allowed.
SECOND = 0.5
TURN, END = "<|im_start|>", "<|im_end|>"
CALL = "<tool_call>"
BLANK = "\u2581"
TEMPLATE = """\
{%- if tools %}<|im_start|>system
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools>
Answer with <tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}{%- for message in messages %}{%- if message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{%- if message.content %}
{{ message.content }}{% endif %}{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endif %}{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def vocabulary(words: list[str]) -> dict[str, gguf.TokenType]:
    """Return the tokens: each byte, printable characters, and the words with their blanks."""
    kind = gguf.TokenType
    tokens = {"<unk>": kind.UNKNOWN, TURN: kind.CONTROL, END: kind.CONTROL}
    tokens |= {f"<0x{byte:02X}>": kind.BYTE for byte in range(256)}
    tokens |= {chr(code): kind.NORMAL for code in range(33, 127)}
    tokens |= dict.fromkeys((BLANK, "\n", *(BLANK + word for word in words)), kind.NORMAL)
    return tokens | {CALL: kind.USER_DEFINED}


def output_rows(tokens: list[str], words: list[str]) -> np.ndarray:
    """Return the output matrix: [next token, token] is how likely the one follows the other."""
    chain = ["\n", *(BLANK + word for word in words), ".", END]
    follows = dict.fromkeys(tokens, chain[1]) | dict(pairwise(chain))
    follows |= {CALL: "\n", ">": END}  # what is between the tags, the server's grammar decides
    rows = np.zeros((len(tokens), WIDTH), np.float32)
    for token, successor in follows.items():
        rows[tokens.index(successor), tokens.index(token)] = 1
    rows[tokens.index(CALL), tokens.index(".")] = SECOND
    return rows


def write_model(path: Path, words: list[str]) -> None:
    """Write the model that says these words and a full stop."""
    kinds = vocabulary(words)
    tokens = list(kinds)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(NAME)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    # Longer tokens win where several fit.
    writer.add_token_scores([float(len(token) - 20) for token in tokens])
    writer.add_token_types([int(kind) for kind in kinds.values()])
    writer.add_bos_token_id(tokens.index(TURN))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_unk_token_id(tokens.index("<unk>"))
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    for name, values in weights(tokens, words).items():
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def weights(tokens: list[str], words: list[str]) -> dict[str, np.ndarray]:
    """Return all matrices, by the names that llama.cpp has for them."""
    ones = np.ones(WIDTH, np.float32)
    shapes = {
        **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (WIDTH, WIDTH)),
        **dict.fromkeys(("ffn_gate", "ffn_up"), (HIDDEN, WIDTH)),
        "ffn_down": (WIDTH, HIDDEN),
    }
    nothing = {f"blk.0.{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return {
        "token_embd": np.eye(len(tokens), WIDTH, dtype=np.float32),
        "blk.0.attn_norm": ones,
        "blk.0.ffn_norm": ones,
        **nothing,
        "output_norm": ones,
        "output": output_rows(tokens, words),
    }


def serve(path: Path, key: str) -> xllamacpp.Server:
    """Serve the model on a free loopback port, embeddings included."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = [NAME]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_ctx = 2 * CONTEXT_TOKENS
    params.n_parallel = 2
    params.cpuparams.n_threads = 1
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.use_jinja = True
    params.warmup = False
    params.verbosity = 0
    return xllamacpp.Server(params)


def main() -> None:
    """Make the model, serve it, and wait."""
    folder, key, *words = sys.argv[1:]
    model = Path(folder) / "tiny.gguf"
    write_model(model, words)
    server = serve(model, key)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
