"""Load from outside, which counts what a service loses: `python -m sockact.probe URL LOAD...`.

A judge is not a party: nothing here imports anything else of sockact, nothing is repeated, and each request
gets exactly one outcome.

    cli -> run -> clients, websocket -> exchange -> tls, wire -> outcome
         report                     -> pace, spec, account

`wire`, `tls` and `pace` are the only modules with sockets and time; `account`, `spec` and `report` are
pure.
"""
