"""The probe loads a service from outside and counts lost requests: `python -m sockact.probe URL LOAD...`.

It is independent: it imports nothing else of sockact, repeats no request, and gives each request exactly
one outcome.

    cli -> run -> clients, websocket -> exchange -> tls, wire -> outcome
         report                     -> pace, spec, account

`wire`, `tls` and `pace` are the only modules with sockets and time; `account`, `spec` and `report` are
pure.
"""
