"""What OpenAI's own client makes of a device: one JSON object of what it got.

Usage: openai_client.py BASE_URL (generate | embed | broken)
"""

import base64
import json
import struct
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=120)
MODEL = client.models.list().data[0].id
ASTRA = {"astra": {"rung": "exact", "deadline": "60s"}}
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]


def generate():
    completion = client.completions.create(
        model=MODEL, prompt="The capital of France is", max_tokens=8, temperature=0, extra_body=ASTRA
    )
    chat = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_completion_tokens=16, temperature=0, extra_body=ASTRA
    )
    stream = client.chat.completions.create(
        model=MODEL,
        messages=MESSAGES,
        max_completion_tokens=16,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
        extra_body=ASTRA,
    )
    pieces, finish, usage, took = [], None, None, None
    for chunk in stream:
        usage = chunk.usage or usage
        took = getattr(chunk, "astra", None) or took
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    # An answer goes back as it came: the client's object, and a dictionary of all its fields.
    follow_ups = []
    for answer in (chat.choices[0].message, chat.choices[0].message.model_dump()):
        follow_up = client.chat.completions.create(
            model=MODEL,
            messages=[*MESSAGES, answer, {"role": "user", "content": "And of Italy?"}],
            max_completion_tokens=8,
            top_p=0,
            stop=[],
            tools=[],
            extra_body=ASTRA,
        )
        follow_ups.append(follow_up.choices[0].message.content)
    # Hanging up in the middle, and going on.
    with client.completions.create(
        model=MODEL, prompt="Once upon a time", max_tokens=400, temperature=0, stream=True, extra_body=ASTRA
    ) as story:
        first = next(iter(story)).choices[0].text
    again = client.completions.create(
        model=MODEL, prompt="The capital of France is", max_tokens=8, temperature=0, extra_body=ASTRA
    )
    return {
        "completion": completion.choices[0].text,
        "completion_finish": completion.choices[0].finish_reason,
        "completion_tokens": completion.usage.completion_tokens,
        "members": [member["name"] for member in completion.astra["members"]],
        "chat": chat.choices[0].message.content,
        "role": chat.choices[0].message.role,
        "chat_finish": chat.choices[0].finish_reason,
        "streamed": "".join(pieces),
        "pieces": len(pieces),
        "stream_finish": finish,
        "stream_tokens": usage.completion_tokens,
        "chat_tokens": chat.usage.completion_tokens,
        "follow_ups": follow_ups,
        "stream_class": took["agreement"]["class"],
        "first": first,
        "again": again.choices[0].text,
    }


def embed():
    texts = ["A cat sat on the mat.", "A kitten rests on a rug.", "Interest rates rose again."]
    # Asks for base64 behind the scenes, and decodes it.
    packed = client.embeddings.create(model=MODEL, input=texts, extra_body=ASTRA)
    plain = client.embeddings.create(model=MODEL, input=texts[0], encoding_format="float", extra_body=ASTRA)
    coded = client.embeddings.create(model=MODEL, input=texts[0], encoding_format="base64", extra_body=ASTRA)
    raw = base64.b64decode(coded.data[0].embedding)
    return {
        "packed": [list(item.embedding) for item in packed.data],
        "plain": plain.data[0].embedding,
        "coded": struct.unpack(f"<{len(raw) // 4}f", raw),
        "tokens": packed.usage.prompt_tokens,
    }


def broken():
    """Requests that the client turns into its own exceptions."""
    kinds = {}

    def attempt(name, ask):
        try:
            ask()
            kinds[name] = "answered"
        except openai.APIStatusError as error:
            kinds[name] = [type(error).__name__, error.status_code, error.code, error.param]

    attempt("model", lambda: client.completions.create(model="gpt-9", prompt="a"))
    attempt("empty", lambda: client.completions.create(model=MODEL, prompt=""))
    attempt("long", lambda: client.completions.create(model=MODEL, prompt="word " * 10000))
    attempt("many", lambda: client.chat.completions.create(model=MODEL, messages=MESSAGES, n=2))
    attempt("task", lambda: client.embeddings.create(model=MODEL, input="a"))
    return kinds


print(json.dumps({"generate": generate, "embed": embed, "broken": broken}[sys.argv[2]]()))
