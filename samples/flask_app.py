"""A web page that shows what MMDAgent-EX says, and sends it what is typed there.

Needs Flask (``python -m pip install flask``). Run it with ``python samples/flask_app.py``, start
MMDAgent-EX, and open http://localhost:5000/ in a browser: a form to send a line, and
the last messages below it. ``GET /messages`` gives the last 100 as JSON. Ctrl-C ends the program.
On macOS another service may have port 5000; then change WEB_PORT.
"""

import threading
from collections import deque

from flask import Flask, abort, jsonify, redirect, render_template_string, request

from mmdagent_remote import Handler, InvalidMessage, Server

AGENT_PORT = 9001
WEB_PORT = 5000

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>MMDAgent-EX</title>
<h1>MMDAgent-EX</h1>
<p>{{ count }} connected to {{ url }}. <a href="/">Reload</a></p>
<form method="post" action="/send">
<input name="line" size="60" autofocus placeholder="TIMER_START|t|1" value="{{ line }}">
<button>Send</button>
</form>
{% if error %}<p><strong>Not sent: {{ error }}</strong></p>{% endif %}
<pre>{% for message in messages %}{{ message }}
{% endfor %}</pre>
</html>
"""


class Log:
    """The last lines, written by the connections' threads and read by Flask's."""

    def __init__(self):
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=100)

    def add(self, line):
        with self._lock:
            self._lines.append(line)

    def last(self):
        with self._lock:
            return list(self._lines)


log = Log()


class Listener(Handler):
    def on_message(self, message):
        log.add(message)


app = Flask(__name__)
server = Server(Listener, port=AGENT_PORT)  # does not listen before start()


@app.get("/")
def index():
    return page()


@app.post("/send")
def send():
    # A page of another site must not send through its visitor's browser.
    if request.headers.get("Origin") not in (None, request.host_url.rstrip("/")):
        abort(403)
    line = request.form.get("line", "")
    try:
        failed = server.broadcast(line)
    except InvalidMessage as error:
        return page(line, error), 400
    if failed or not server.connections:
        return page(line, "nobody is connected, or does not read"), 503
    return redirect("/", code=303)


@app.get("/messages")
def messages():
    return jsonify(log.last())


def page(line="", error=None):
    return render_template_string(PAGE, url=server.url, count=len(server.connections), line=line,
                                  error=error, messages=reversed(log.last()))


if __name__ == "__main__":
    with server:  # started here, shut down when Flask ends
        # The reloader would run this script twice, and both would want the port.
        app.run(port=WEB_PORT, use_reloader=False)
