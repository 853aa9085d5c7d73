"""A Modbus TCP server of pymodbus: prints its port, serves until its standard input ends."""
import asyncio
import sys
import threading

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server.async_io import ModbusTcpServer


def unit():
    def block(value):
        return ModbusSequentialDataBlock(0, [value] * 65536)

    return ModbusSlaveContext(co=block(False), di=block(True), ir=block(0x1234), hr=block(0), zero_mode=True)


async def main():
    context = ModbusServerContext(slaves={1: unit(), 17: unit()}, single=False)
    server = ModbusTcpServer(context, address=("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve_forever())
    await server.serving
    print(server.server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(stop.set)), daemon=True).start()
    await stop.wait()
    serving.cancel()


asyncio.run(main())
