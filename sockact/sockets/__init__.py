"""Sockets: adopt, bind, pass on and accept from them, and ask the kernel about them."""
