"""An object store for tests: moto, on a port of this machine that the system chooses.

The first line on stdout says as JSON where it is and with which keys requests must be signed. Signatures are checked, and
so are the checksums of what is sent. Each line on stdin is a command and is answered with one line; when stdin
closes, the store ends. With a certificate and its key as arguments it speaks TLS.

    keys             names of all objects, with blanks between them
    uploads          the number of uploads that were begun and neither completed nor aborted
    fill PREFIX N    N objects, made without a request each
    damage KEY       one byte of the object is another one from now on
    deletes no|yes   whether objects may be removed
    down, up         nothing listens on the port any more; it does again
"""

import base64
import hashlib
import io
import json
import logging
import os
import sys
import threading

os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"

from moto.iam.models import iam_backends  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app  # noqa: E402
from moto.s3.models import s3_backends  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

ACCOUNT, REGION, BUCKET = "123456789012", "us-east-1", "tablets"


class Store:
    def __init__(self, tls):
        self.tls, self.removes, self.port = tls, True, 0
        self.objects = s3_backends[ACCOUNT]["aws"]
        self.objects.create_bucket(BUCKET, REGION)
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.up()

    def keys(self):
        return " ".join(sorted(self.objects.get_bucket(BUCKET).keys))

    def uploads(self):
        return str(len(self.objects.get_bucket(BUCKET).multiparts))

    def fill(self, prefix, count):
        for number in range(int(count)):
            self.objects.put_object(BUCKET, f"{prefix}{number:06}", b"x")
        return "done"

    def damage(self, key):
        found = self.objects.get_object(BUCKET, key)
        value = bytearray(found.value)
        value[len(value) // 2] ^= 1
        found.value = bytes(value)
        return "done"

    def deletes(self, answer):
        self.removes = answer == "yes"
        return "done"

    def up(self):
        handler = MotoRequestHandler
        self.server = make_server("127.0.0.1", self.port, self.answer, True, request_handler=handler, ssl_context=self.tls)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return "done"

    def down(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        return "done"

    def answer(self, environ, start):
        """What moto does not look at, and then moto."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        digest = hashlib.sha256(body)
        checksum = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
        if environ.get("HTTP_X_AMZ_CONTENT_SHA256") != digest.hexdigest():
            return refused(start, "400 Bad Request", "XAmzContentSHA256Mismatch")
        if checksum is not None and base64.b64decode(checksum) != digest.digest():
            return refused(start, "400 Bad Request", "BadDigest")
        if environ["REQUEST_METHOD"] == "DELETE" and "uploadId" not in environ["QUERY_STRING"] and not self.removes:
            return refused(start, "403 Forbidden", "AccessDenied")
        return self.moto(environ, start)


def refused(start, status, code):
    start(status, [("content-type", "application/xml")])
    return [f"<Error><Code>{code}</Code></Error>".encode()]


def keys_of_a_user():
    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user(REGION, "hub")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy("hub", "all", json.dumps(policy))
    key = iam.create_access_key("hub")
    return {"id": key.access_key_id, "secret": key.secret_access_key}


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    tls = (sys.argv[1], sys.argv[2]) if len(sys.argv) == 3 else None
    store = Store(tls)
    scheme = "https" if tls else "http"
    print(json.dumps({"endpoint": f"{scheme}://127.0.0.1:{store.port}", "bucket": BUCKET, **keys_of_a_user()}), flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        print(getattr(store, command)(*arguments), flush=True)


main()
