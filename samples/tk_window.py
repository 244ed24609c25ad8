"""A window that shows what MMDAgent-EX says, and sends it what you type.

Run it with ``python samples/tk_window.py`` and start MMDAgent-EX: the top line of the window
says that it is connected, and its messages appear below. Type a message, for example
``TIMER_START|t|1``, and press Return. Closing the window ends everything.

Tk must run in the main thread, but hooks run in other threads. So the hooks only put messages into
a queue, and the window polls it. Needs tkinter (on Debian: ``apt install python3-tk``).
"""

import queue
import signal
import tkinter as tk
from tkinter import ttk

from mmdagent_remote import Handler, InvalidMessage, Server

HOST = "localhost"
PORT = 9001
POLL_MS = 50          # how often the window polls the queue
LINES_AT_ONCE = 200   # taken at one poll, so that a flood does not freeze the window
LINES_KEPT = 2000     # older ones leave the window


class Receiver(Handler):
    """Puts what happens on one connection into the window's queue."""

    def __init__(self, received):
        self.received = received

    def on_message(self, message):
        self.received.put(message)


class Window:
    """The widgets. Everything here runs in the main thread."""

    def __init__(self, root, server, received):
        self.root = root
        self.server = server
        self.received = received
        root.title("MMDAgent-EX")
        root.protocol("WM_DELETE_WINDOW", self.close)

        self.state = ttk.Label(root, padding=4)
        self.messages = tk.Text(root, state="disabled", width=80, height=24)
        self.entry = ttk.Entry(root)
        self.button = ttk.Button(root, text="Send", command=self.send)
        self.status = ttk.Label(root, padding=4)
        self.entry.bind("<Return>", lambda event: self.send())

        self.state.grid(row=0, columnspan=2, sticky="we")
        self.messages.grid(row=1, columnspan=2, sticky="nsew")
        self.entry.grid(row=2, column=0, sticky="we")
        self.button.grid(row=2, column=1)
        self.status.grid(row=3, columnspan=2, sticky="we")
        root.columnconfigure(0, weight=1)
        root.rowconfigure(1, weight=1)
        self.entry.focus()
        self.poll()

    def poll(self):
        """Show what has come since the last time."""
        count = len(self.server.connections)
        connected = f"{count} connected" if count else "waiting for MMDAgent-EX"
        self.state.config(text=f"{self.server.url}  {connected}")
        lines: list[str] = []
        while len(lines) < LINES_AT_ONCE and not self.received.empty():
            lines.append(self.received.get())
        if lines:
            self.show(lines)
        self.root.after(POLL_MS, self.poll)

    def show(self, lines):
        self.messages.config(state="normal")
        self.messages.insert("end", "".join(line + "\n" for line in lines))
        self.messages.delete("1.0", f"end-{LINES_KEPT + 1}l")
        self.messages.config(state="disabled")
        self.messages.see("end")

    def send(self):
        """Send the line that was typed to every connection."""
        line = self.entry.get()
        try:
            failed = self.server.broadcast(line)  # never waits, so the window keeps responding
        except InvalidMessage as error:
            self.status.config(text=f"Not sent: {error}")
            return
        if failed or not self.server.connections:
            self.status.config(text="Not sent: nobody is connected, or does not read")
            return
        self.entry.delete(0, "end")
        self.status.config(text=f"Sent: {line}")

    def close(self):
        self.root.destroy()


def main():
    received: queue.Queue[str] = queue.Queue()
    with Server(lambda: Receiver(received), HOST, PORT) as server:  # shut down on exit
        root = tk.Tk()
        window = Window(root, server, received)
        # Tk would print an exception of a callback and go on, so Ctrl-C must close the window.
        signal.signal(signal.SIGINT, lambda *_: root.after_idle(window.close))
        root.mainloop()


if __name__ == "__main__":
    main()
