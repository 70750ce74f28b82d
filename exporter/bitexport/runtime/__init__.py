"""The C runtime on this machine, called from Python as an app calls it from C.

with open_model(Path("out/stories")) as model:
    session = model.session()
    session.give(model.encode("Once upon a time"))
    sampler = model.sampler(temperature=0.8, seed=7)
    for event in session.answer(sampler, Answer(most_tokens=100, continues=True)):
        print(event.text, end="")
"""

from bitexport.runtime.model import HostModel, Message
from bitexport.runtime.opened import open_model
from bitexport.runtime.session import (
    Answer,
    Chosen,
    End,
    Ended,
    Event,
    HostSession,
    Prefill,
    Sampler,
)

__all__ = ["Answer", "Chosen", "End", "Ended", "Event", "HostModel", "HostSession", "Message",
           "Prefill", "Sampler", "open_model"]  # fmt: skip
