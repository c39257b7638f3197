"""Unit files for an app: their text from one description, checked before it is installed.

    syntax         words and values as systemd reads them
    unit_text      options with their reasons, and a unit file made of them
    wanted         an app and its sockets, user, folders: what the units are for
    addresses      addresses to listen on, and the socket units for them
    service        the service and its sockets; `reasons` has why, `sandbox` the options that confine it
    additions      the drop-in for TLS, and the units for a deploy by file
    container      the pair for podman
    environment    the virtual environment and the folders, as the service will find them
    writing        all files for an app, and those in units/
    installing     files compared and written; `manager` has them verified, enabled and started
    carrying       existing units and Procfiles; with `command_lines`, `server_options`, `servers` all that
                   is in them
    request        a command line, completed by all of these

The files in units/ of the checkout are output of `python -m sockact.units`.
"""
