"""Fuzzing: whatever comes from outside, nothing crashes, hangs, leaks or grows.

    targets/NAME.py   `target(data)` does with some bytes what sockact does with those of others, and raises
                      if a promise is broken; a `SockactError` is an answer. `DICTIONARY` has words for the
                      mutations; `LARGE` is the size up to which an input is multiplied, to see that the
                      time it takes is linear
    corpus/NAME/      inputs: made by hand, and the smallest of those that have found a fault
    oracle.py         runs a target, and sees the crash, the hang, the leak and the growth
    inputs.py         inputs for hypothesis: those of the corpus, mutated
    guided.py         the same with atheris, which is guided by the coverage of the code

`python -m tests.fuzz NAME... --seconds N` fuzzes; `test_fuzz.py` replays the corpus and fuzzes a little.
"""
