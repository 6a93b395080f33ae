# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A headless Chromium, spoken to in its DevTools protocol over a pipe: no driver, no port.

    with Browser(tmp_path) as browser:
        page = browser.open(path)        what it said, what it fetched
        page.run("document.title")       of JavaScript, as Python values
"""
import base64
import collections
import json
import os
import subprocess
import time

WAIT_S = 60


class Page:
    def __init__(self, browser, session):
        self.browser, self.session = browser, session
        self.said = []  # errors: exceptions, console errors, what could not be loaded
        self.fetched = []

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def run(self, script):
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def screenshot(self, path):
        size = self.run("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        with open(path, "wb") as f:
            f.write(base64.b64decode(shot["data"]))

    def pdf(self):
        return base64.b64decode(self.call("Page.printToPDF")["data"])

    def heard(self, event):
        method, words = event["method"], event["params"]
        if method == "Runtime.exceptionThrown":
            self.said.append(words["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and words["type"] in ("error", "warning", "assert"):
            self.said.append(str([a.get("value") for a in words["args"]]))
        elif method == "Log.entryAdded" and words["entry"]["level"] in ("error", "warning"):
            self.said.append(words["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.fetched.append(words["request"]["url"])


class Browser:
    def __init__(self, folder, width=1060):
        to_it, from_us = os.pipe()
        to_us, from_it = os.pipe()
        self.write, self.read = from_us, to_us
        self.number, self.rest, self.pages = 0, b"", {}
        self.events = collections.Counter()

        def place():  # the browser reads 3 and writes 4
            ends = os.dup(to_it), os.dup(from_it)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)
        self.log = open(os.path.join(folder, "chromium.log"), "wb")
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu",
             "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
             "--window-size=%d,1400" % width, "--user-data-dir=%s" % os.path.join(folder, "chromium")],
            preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        os.close(to_it)
        os.close(from_it)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        try:
            self.call("Browser.close")
            self.process.wait(WAIT_S)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.write)
            os.close(self.read)
            self.log.close()

    def receive(self):
        while b"\0" not in self.rest:
            block = os.read(self.read, 1 << 20)
            assert block, "the browser has ended"
            self.rest += block
        line, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(line)
        if "method" in message:
            self.events[message.get("sessionId"), message["method"]] += 1
            if message.get("sessionId") in self.pages:
                self.pages[message["sessionId"]].heard(message)
        return message

    def call(self, method, session=None, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, path):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(domain + ".enable")
        page.call("Page.navigate", url="file://" + os.path.abspath(path))
        deadline = time.monotonic() + WAIT_S
        while not self.events[session, "Page.loadEventFired"]:
            assert time.monotonic() < deadline
            self.receive()
        return page
