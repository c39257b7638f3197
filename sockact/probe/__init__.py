"""The probe loads a service from outside and counts lost requests: `sockact probe`, `sockact prove`.

Programs use `python -m sockact.probe URL LOAD...`, which `BackgroundProbe` runs.

It is independent: it imports nothing else of sockact, repeats no request, and gives each request exactly
one outcome.

    session -> run -> clients, websocket -> exchange -> tls, wire -> outcome
               action                     -> pace, spec, account -> record
    page -> report -> phases -> account

`wire`, `tls`, `pace` and `action` are the only modules with sockets, time and processes; `account`,
`record`, `spec`, `phases`, `report` and `page` are pure.
"""
