"""A Modbus server of pymodbus whose registers hold what pymodbus encodes.

The first argument is a JSON list of {"address", "type", "order", "value"}: they are put into the holding and the input registers of unit 17. The second is
how it is reached: tcp, udp, rtu-tcp, tls (then a certificate and a key follow), rtu or ascii (then a tty follows). It prints its port, or 0. For each line on standard input it prints a JSON list of what the holding registers hold now, and it ends with its standard input.
"""
import asyncio
import json
import sys

from pymodbus.constants import Endian
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.payload import BinaryPayloadBuilder, BinaryPayloadDecoder
from pymodbus.framer.ascii_framer import ModbusAsciiFramer
from pymodbus.framer.rtu_framer import ModbusRtuFramer
from pymodbus.framer.socket_framer import ModbusSocketFramer
from pymodbus.server.async_io import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer, ModbusUdpServer

KINDS = {
    "int16": ("16bit_int", 1), "uint16": ("16bit_uint", 1), "int32": ("32bit_int", 2), "uint32": ("32bit_uint", 2),
    "int64": ("64bit_int", 4), "uint64": ("64bit_uint", 4), "float32": ("32bit_float", 2), "float64": ("64bit_float", 4),
}
# The order of bytes within a register, and of the registers.
ORDERS = {
    "abcd": {"byteorder": Endian.Big, "wordorder": Endian.Big}, "cdab": {"byteorder": Endian.Big, "wordorder": Endian.Little},
    "badc": {"byteorder": Endian.Little, "wordorder": Endian.Big}, "dcba": {"byteorder": Endian.Little, "wordorder": Endian.Little},
}
HOLDING = 3
INPUT = 4


def encode(point):
    builder = BinaryPayloadBuilder(**ORDERS[point["order"]])
    getattr(builder, "add_" + KINDS[point["type"]][0])(point["value"])
    return builder.to_registers()


def decode(unit, point):
    kind, size = KINDS[point["type"]]
    registers = unit.getValues(HOLDING, point["address"], size)
    return getattr(BinaryPayloadDecoder.fromRegisters(registers, **ORDERS[point["order"]]), "decode_" + kind)()


async def serve(context, form, args):
    """Start a server, and return its port."""
    local = ("127.0.0.1", 0)
    if form in ("rtu", "ascii"):
        framer = ModbusRtuFramer if form == "rtu" else ModbusAsciiFramer
        server = ModbusSerialServer(context, framer=framer, port=args[0], baudrate=115200, ignore_missing_slaves=True)
        await server.start()
        return server, 0
    if form == "udp":
        server = ModbusUdpServer(context, address=local)
        task = asyncio.create_task(server.serve_forever())
        while server.protocol is None:
            await asyncio.sleep(0.01)
        server.serving_task = task
        return server, server.protocol.get_extra_info("sockname")[1]
    if form == "tls":
        # By itself this version leaves the header out under TLS, which the specification does not.
        server = ModbusTlsServer(context, framer=ModbusSocketFramer, address=local, certfile=args[0], keyfile=args[1])
    else:
        server = ModbusTcpServer(context, address=local, framer=ModbusRtuFramer if form == "rtu-tcp" else None)
    server.serving_task = asyncio.create_task(server.serve_forever())
    await server.serving
    return server, server.server.sockets[0].getsockname()[1]


async def main():
    points = json.loads(sys.argv[1])
    blocks = {name: ModbusSequentialDataBlock(0, [0] * 65536) for name in ("co", "di", "ir", "hr")}
    unit = ModbusSlaveContext(**blocks, zero_mode=True)
    for point in points:
        unit.setValues(HOLDING, point["address"], encode(point))
        unit.setValues(INPUT, point["address"], encode(point))
    form = sys.argv[2] if len(sys.argv) > 2 else "tcp"
    server, port = await serve(ModbusServerContext(slaves={17: unit}, single=False), form, sys.argv[3:])
    print(port, flush=True)
    while await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        print(json.dumps([decode(unit, point) for point in points]), flush=True)
    if hasattr(server, "serving_task"):
        server.serving_task.cancel()


asyncio.run(main())
