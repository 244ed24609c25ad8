"""Functions instead of a class, in the style of the websocket-server package.

Prints what MMDAgent-EX says, and sends it TEST_MESSAGE every two seconds, as
``send_and_receive.py`` does. Run it with ``python samples/callbacks.py`` and start MMDAgent-EX.
Ctrl-C ends the program.
"""

import threading
import time

from mmdagent_remote.callbacks import WebsocketServer


def new_client(client, server):
    print(f"Client {client['id']} is connected")


def client_left(client, server):
    print(f"Client {client['id']} has left")


def message_received(client, server, message):
    print(f"Received message: {message.rstrip()}")   # MMDAgent-EX ends each with a newline


def tick(server):
    while True:
        time.sleep(2)
        server.send_message_to_all("TEST_MESSAGE")   # the newline is added for MMDAgent-EX


if __name__ == "__main__":
    server = WebsocketServer(port=9001)
    server.set_fn_new_client(new_client)
    server.set_fn_client_left(client_left)
    server.set_fn_message_received(message_received)
    threading.Thread(target=tick, args=(server,), daemon=True).start()
    server.run_forever()
