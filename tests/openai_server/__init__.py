"""A language model's server for tests: OpenAI's chat completions, spoken over a socket, scripted.

async with OpenAIServer.open() as openai:
    openai.call("print(6 * 7)")
    openai.say("It is 42.")
    ...  # a real client is pointed at openai.base_url
    assert openai.requests[1].last_result == "42\n"
"""

from tests.openai_server.replies import Call, Chunks, Failure, Reply, Words, python_call
from tests.openai_server.requests import ChatRequest
from tests.openai_server.server import OpenAIServer

__all__ = [
    "Call",
    "ChatRequest",
    "Chunks",
    "Failure",
    "OpenAIServer",
    "Reply",
    "Words",
    "python_call",
]
