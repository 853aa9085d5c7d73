#!/usr/bin/env python3
"""A Fieldloom driver on stock gRPC: one link, one counter, no device.

DRIVER_DESCRIPTORS names a descriptor set of driver.proto, made with
`buf build -o driver.binpb` or `protoc --descriptor_set_out=driver.binpb`.
"""
import base64, datetime, os, queue, sys, threading, time
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "fieldloom.driver.v1.DriverService"
EPOCH = int.from_bytes(os.urandom(8), "little") | 1
POOL = descriptor_pool.DescriptorPool()
with open(os.environ["DRIVER_DESCRIPTORS"], "rb") as f:
    for file in descriptor_pb2.FileDescriptorSet.FromString(f.read()).file:
        POOL.Add(file)


def message(name):
    descriptor = POOL.FindMessageTypeByName("fieldloom.driver.v1." + name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(POOL).GetPrototype(descriptor)


def answer(name, /, **fields):
    return message(name + "Response")(**fields)


def describe(_request, _context):
    return answer("Describe", name="counter", version="1.0.0", process_epoch=EPOCH)


def write(request, context):
    if request.point != "setpoint":
        context.abort(grpc.StatusCode.NOT_FOUND, "there is no point " + request.point)
    return answer("Write")


def attach(requests, _context):
    """Sends one frame for each acknowledgement, and three to begin with."""
    hello = next(requests).hello
    sequence = hello.resume_after if hello.process_epoch == EPOCH else 0
    yield answer("Attach", welcome={"process_epoch": EPOCH, "next_sequence": sequence + 1})
    todo = queue.Queue()
    for _ in range(3):
        todo.put("frame")

    def listen():
        for request in requests:
            if request.WhichOneof("message") == "heartbeat":
                todo.put("heartbeat")
            else:
                todo.put("frame")
        todo.put("end")

    threading.Thread(target=listen, daemon=True).start()
    while (what := todo.get()) != "end":
        if what == "heartbeat":
            yield answer("Attach", heartbeat={"progress": int(time.monotonic())})
            continue
        sequence += 1
        block = {"runs": [7, 2], "time_unix_ns": time.time_ns(), "kind": 2, "ints": [sequence, -sequence]}
        yield answer("Attach", frame={"sequence": sequence, "batch": {"blocks": [block]}})


def certificate():
    """A certificate of its own for this run; its leaf goes into the handshake."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    cert = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=10000))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, cert.public_bytes(pem), cert.public_bytes(serialization.Encoding.DER)


def main():
    if "PLUGIN_CLIENT_CERT" not in os.environ:
        sys.exit("this is a driver of the Fieldloom gateway, which starts it")
    server = grpc.server(futures.ThreadPoolExecutor(8))
    unary = {"Describe": describe, "Write": write}
    for name in ("Validate", "Apply", "Status", "Activate", "Drain"):
        unary[name] = lambda _request, _context, name=name: answer(name)

    def codec(name):
        return {"request_deserializer": message(name + "Request").FromString,
                "response_serializer": message(name + "Response").SerializeToString}

    handlers = {name: grpc.unary_unary_rpc_method_handler(f, **codec(name)) for name, f in unary.items()}
    handlers["Attach"] = grpc.stream_stream_rpc_method_handler(attach, **codec("Attach"))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    private, chain, leaf = certificate()
    credentials = grpc.ssl_server_credentials(
        [(private, chain)], root_certificates=os.environ["PLUGIN_CLIENT_CERT"].encode(), require_client_auth=True)
    path = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "driver.sock")
    server.add_secure_port("unix:" + path, credentials)
    server.start()
    core = os.getppid()
    print("1|1|unix|%s|grpc|%s" % (path, base64.b64encode(leaf).decode().rstrip("=")), flush=True)
    while os.getppid() == core:
        time.sleep(1)
    os.unlink(path)
    os.rmdir(os.path.dirname(path))


if __name__ == "__main__":
    main()
