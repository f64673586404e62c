"""A TLS server on memory BIOs in front of a trio stream, whose alerts reach the client too.

(trio's own SSLStream closes without sending the alert of a handshake that failed.)
"""

import ssl

import trio


async def handshake(stream: trio.SocketStream, context: ssl.SSLContext) -> ssl.SSLObject | None:
    """Do the server's side; None where it failed, after its alert was sent."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await stream.send_all(outgoing.read())
            data = await stream.receive_some(64 * 1024)
            if not data:
                return None
            incoming.write(data)
        except ssl.SSLError:
            await stream.send_all(outgoing.read())
            return None
        else:
            await stream.send_all(outgoing.read())
            return tls
