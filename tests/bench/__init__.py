"""The costs of sockact, in figures: `python -m tests.bench [NAME...] [--rounds N]`.

    throughput   rates and latency, beside uvicorn, granian and gunicorn
    worker       memory of a worker, and of each idle connection
    imports      CPU time of all that a worker imports, beside asyncio, uvloop and httptools
    size         memory of a supervisor
    idle         CPU time of a supervisor with which nothing happens
    start        from a supervisor's exec to that of its first worker
    activation   from the exec of a service to its first answer
    reload       how long a reload takes with 1 to 32 workers
    stall        how long nothing is served, with a reload and without
    restart      the same around restarts, on real systemd
    handover     what it costs to move connections to the next worker, and to close them

Each is a module with `ROUNDS` and `measure(rounds)`, which yields lines of text as they are found. What is
compared takes turns in one run, so that a noise of the machine meets both. Nothing here fails for a time:
the goal stands beside the figure.

`python -m tests.bench.picture FILE.svg` draws what one connection sees of reloads and a restart;
`python -m tests.bench.imports` lists the modules whose import costs most.
"""
