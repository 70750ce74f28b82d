"""The C runtime on this machine, called from Python as an app calls it from C.

with open_model(Path("out/stories")) as model:
session = model.session()
session.give(model.encode("Once upon a time"))
for event in session.answer(model.sampler(temperature=0.8, seed=7), most_tokens=100):
print(event.text, end="")
"""

from bitexport.runtime.model import HostModel, open_model
from bitexport.runtime.session import Answer, Chosen, End, Ended, HostSession, Prefill, Sampler

__all__ = ["Answer", "Chosen", "End", "Ended", "HostModel", "HostSession", "Prefill", "Sampler",
           "open_model"]  # fmt: skip
